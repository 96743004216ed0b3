//! The two halves of a stream, borrowed or owned.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::os::unix::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use bourn_reactor::{Direction, Ticket};

use crate::socket::Place;
use crate::stream::halves;
use crate::unix::UnixStream;

halves!(UnixStream, SocketAddr);
