//! Reading and writing.

use std::io::{self, IoSlice, IoSliceMut};
use std::task::{Context, Poll, ready};

use bourn_reactor::{Direction, Interest, Ticket};

use crate::stream::{read_methods, whole, write_methods};
use crate::tcp::TcpStream;

read_methods!(TcpStream);
write_methods!(TcpStream);
whole!(TcpStream, &TcpStream);
