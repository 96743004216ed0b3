//! An async runtime with its own epoll reactor and its own socket types
