//! The attribute macros of bourn
