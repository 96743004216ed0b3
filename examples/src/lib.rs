//! What the examples of bourn share: drawing. Everything that an example is about
//! stands in the example.
//!
//! In tests, this crate also compiles and runs the code of the README and of the
//! handbook (`cargo test -p bourn-examples --doc`).
#![forbid(unsafe_code)]

pub mod picture;

#[cfg(doctest)]
mod handbook;
