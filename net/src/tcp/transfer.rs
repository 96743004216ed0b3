//! Reading and writing.

use std::io::{self, IoSlice, IoSliceMut};
use std::task::{Context, Poll, ready};

use bourn_reactor::{Direction, Interest, Ticket};

use crate::stream::{peek_methods, read_methods, whole, write_methods};
use crate::tcp::TcpStream;

read_methods!(TcpStream);
peek_methods!(TcpStream);
write_methods!(TcpStream);
whole!(TcpStream);
