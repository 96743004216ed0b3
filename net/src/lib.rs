//! Async TCP, UDP and Unix sockets that work under any executor.
//!
//! This crate moves bytes: it tries an operation, and if the kernel would block,
//! waits at a reactor of [`bourn_reactor`] and tries again. It runs no tasks, has
//! no thread of its own but for [blocking calls](offload), and frames nothing. In
//! a runtime of the crate `bourn`, sockets wait at the reactor of the thread that
//! polls them; under any other executor, at a background reactor that is started
//! when first needed.
//!
//! ```text
//!    your task                       this crate                    bourn-reactor
//!
//!   stream.read(buf).await --> Socket::poll_recv -- recv(2) --> bytes: done
//!        ^                             |
//!        |                        WouldBlock
//!        |                             v
//!        |                     Source::poll_ready -- registers --> Reactor
//!        '------ wake <--------------- report <------------------- epoll, poll,
//!                                                                  select, mio
//! ```
//!
//! # Rules of all sockets
//!
//! * **Nothing blocks.** `WouldBlock` and `Interrupted` never come out of an async
//!   or `poll_*` method. The `try_*` methods do not wait: they say `WouldBlock`.
//! * **`recv` and `send` are made by syscall(2)**, not by libc's functions of these names:
//!   a library preloaded in their place does not see them.
//! * **Errors are the kernel's.** [`raw_os_error`](std::io::Error::raw_os_error)
//!   works, except where one error has to tell of several calls: it then has the
//!   kind of the last one, and a [`ConnectError`] or [`WriteAllError`] inside.
//! * **Cancel safety.** Dropping the future of a method that makes one call
//!   (`read`, `write`, `peek`, `accept`, `readable`...) loses nothing: the call is
//!   made only in the poll that completes it. Methods that make several calls
//!   (`read_exact`, `write_all`) say what becomes of the first ones.
//! * **Fairness.** A task that never has to wait gives way to others after
//!   [a number](bourn_reactor::budget) of operations, where the executor sets one.
//! * **Several tasks** may use one socket at a time; each has its own place among
//!   those who wait. The `poll_*` methods and traits of a whole stream share the
//!   places of one [ticket](bourn_reactor::Ticket::shared): enough for 32 tasks in
//!   each direction. Halves have places of their own.
//! * **Closing.** Dropping a socket closes it at once. A socket that was registered
//!   is taken out of its reactor first.
//! * **No SIGPIPE**, whatever the process thinks of it.
//! * **No `try_clone`.** A second owner of a connection is an `Arc` of it, or a half. A
//!   second descriptor, which keeps the connection open after the first is closed, is
//!   made by `TcpStream::try_from(stream.as_fd().try_clone_to_owned()?)`; both share one
//!   queue, and each has readiness of its own.
//! * **Options from outside.** A socket is available as a descriptor
//!   ([`AsFd`](std::os::fd::AsFd)). Whoever gives it an upper-layer protocol
//!   (`TCP_ULP`, as for kernel TLS) does so before
//!   [`from_std`](TcpStream::from_std), which takes note of it.
//!
//! # Example
//!
//! ```
//! use bourn_net::{TcpListener, TcpStream};
//!
//! async fn echo(stream: TcpStream) -> std::io::Result<()> {
//!     let mut buf = [0; 1024];
//!     while let length @ 1.. = stream.read(&mut buf).await? {
//!         stream.write_all(&buf[..length]).await?;
//!     }
//!     Ok(())
//! }
//!
//! // Any executor will do.
//! futures_lite::future::block_on(async {
//!     let listener = TcpListener::bind("127.0.0.1:0").await?;
//!     let client = TcpStream::connect(listener.local_addr()?).await?;
//!     let (server, _) = listener.accept().await?;
//!
//!     let conversation = async move {
//!         client.write_all(b"hello").await?;
//!         let mut answer = [0; 5];
//!         client.read_exact(&mut answer).await?;
//!         std::io::Result::Ok(answer)
//!     };
//!     let (echoed, answer) = futures_lite::future::zip(echo(server), conversation).await;
//!     echoed?;
//!     assert_eq!(&answer?, b"hello");
//!     std::io::Result::Ok(())
//! })
//! .unwrap();
//! ```
//!
//! # Platform notes
//!
//! Linux is tested, and has all the calls that are made. Other systems lack some, and
//! this has never been compiled there.
#![deny(unsafe_code)]

mod addr;
mod async_fd;
mod datagram;
pub mod inspect;
pub mod offload;
mod operation;
mod option;
mod readiness;
mod socket;
mod splice;
mod stall;
mod stream;
#[allow(unsafe_code)]
mod sys;
mod tcp;
mod udp;
pub mod unix;
pub mod vacancy;

pub use addr::{ToSocketAddrs, lookup_host};
pub use async_fd::AsyncFd;
pub use bourn_reactor::Interest;
pub use offload::Offload;
pub use option::Keepalive;
pub use splice::copy_bidirectional;
pub use stream::WriteAllError;
pub use tcp::{
    AcceptErrorKind, CloseReport, ConnectAttempt, ConnectError, Cork, Incoming, ListenQueue, OwnedReadHalf,
    OwnedWriteHalf, Queues, ReadHalf, ReuniteError, TcpInfo, TcpListener, TcpSocket, TcpState, TcpStream, WriteHalf,
};
pub use udp::{Received, RecvBatch, UdpSocket};
pub use unix::{UnixDatagram, UnixListener, UnixStream};
