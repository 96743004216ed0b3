//! What the streams of TCP and of Unix sockets share: reading, writing, halves and
//! the traits of generic code, as macros over a type with a field `socket`. They find
//! the names of std and of the reactor that they use where they are called.

mod read;
mod split;
mod traits;
mod write;

pub use write::WriteAllError;

pub(crate) use read::read_methods;
pub(crate) use split::{either_half, halves, reading, writing};
pub(crate) use traits::{close, readers, stream_traits, writers};
pub(crate) use write::{cut, progress, write_methods};
