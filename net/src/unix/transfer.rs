//! Reading and writing.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::os::unix::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bourn_reactor::{Direction, Interest, Ticket};

use crate::socket::Place;
use crate::stream::{halves, peek_methods, read_methods, whole, write_methods};
use crate::unix::UnixStream;

read_methods!(UnixStream);
peek_methods!(UnixStream);
write_methods!(UnixStream);
whole!(UnixStream);
halves!(UnixStream, SocketAddr);
