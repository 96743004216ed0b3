//! What the programs and benches of this package share.
#![allow(missing_docs, reason = "of this package alone")]

pub mod peers;
pub mod random;
