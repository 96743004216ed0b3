//! Reading, writing and the traits of generic code.

use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bourn_reactor::{Direction, Interest, Ticket};
use futures_io::{AsyncRead, AsyncWrite};

use crate::stream::{read_methods, stream_traits, write_methods};
use crate::tcp::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, TcpStream, WriteHalf};

read_methods!(TcpStream);
write_methods!(TcpStream);
stream_traits!(TcpStream);
