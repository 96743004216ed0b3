//! Reading, writing and the traits of generic code.

use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bourn_reactor::{Direction, Interest, Ticket};
use futures_io::{AsyncRead, AsyncWrite};

use crate::stream::{read_methods, stream_traits, write_methods};
use crate::unix::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, UnixStream, WriteHalf};

read_methods!(UnixStream);
write_methods!(UnixStream);
stream_traits!(UnixStream);
