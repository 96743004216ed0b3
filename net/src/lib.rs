//! Async TCP sockets that work under any executor
