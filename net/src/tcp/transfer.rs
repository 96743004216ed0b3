//! Reading and writing.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bourn_reactor::{Direction, Interest, Ticket};

use crate::socket::Place;
use crate::stream::{halves, peek_methods, read_methods, whole, write_methods};
use crate::tcp::TcpStream;

read_methods!(TcpStream);
peek_methods!(TcpStream);
write_methods!(TcpStream);
whole!(TcpStream);
halves!(TcpStream, SocketAddr);
