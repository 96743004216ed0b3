//! Models of the protocols between the threads of a runtime: the shipped types on loom's threads.
