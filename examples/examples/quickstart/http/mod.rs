//! HTTP/1.1 without input and output: bytes of requests go in, bytes of answers
//! come out.
//!
//! ```text
//!              space()                          output()
//!   recv ------------------> [ Connection ] ------------------> send
//!                 receive(n): Next::{Read, Close}
//! ```
//!
//! How a server waits is all in which `recv` and `send` it calls: the three
//! servers of this example share this module and differ in nothing else. It needs
//! no socket to be tested, either.
//!
//! `GET /` is answered with a greeting. `POST /echo` sends the body back while it
//! arrives: what one `recv` brought is sent before the next `recv`, so a body of
//! any length passes through the same few kilobytes. A client that does not read
//! its answer stops the server's `send`, which stops its `recv`, which in the end
//! stops the client's own `send`: TCP carries the back-pressure to its origin.
//!
//! The rules are those of RFC 9110 and RFC 9112. One is left out: no answer has a
//! `Date`.

mod answer;
mod body;
mod connection;
mod request;
#[cfg(test)]
mod tests;

pub use answer::verify_greeting;
pub use connection::{Connection, Next};
