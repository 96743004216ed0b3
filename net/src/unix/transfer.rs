//! Reading and writing.

use std::io::{self, IoSlice, IoSliceMut};
use std::task::{Context, Poll, ready};

use bourn_reactor::{Direction, Interest, Ticket};

use crate::stream::{peek_methods, read_methods, whole, write_methods};
use crate::unix::UnixStream;

read_methods!(UnixStream);
peek_methods!(UnixStream);
write_methods!(UnixStream);
whole!(UnixStream);
