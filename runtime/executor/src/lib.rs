//! Tasks and the executors that run them; knows nothing about I/O
