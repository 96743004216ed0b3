//! Readiness, timers and waking for async sockets, over epoll, poll, select or mio
