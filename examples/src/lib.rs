//! What the examples of bourn share: drawing, starting a second process, and
//! asking the kernel about it and about a connection. Everything that an example
//! is about stands in the example.
//!
//! In tests, this crate also compiles and runs the code of the README and of the
//! handbook (`cargo test -p bourn-examples --doc`).
#![forbid(unsafe_code)]

pub mod kernel;
pub mod picture;
pub mod process;

#[cfg(doctest)]
mod handbook;
