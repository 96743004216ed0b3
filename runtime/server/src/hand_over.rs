//! Handing listening sockets over to another process.
