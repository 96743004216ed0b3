//! The runtimes, behind one trait.

use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

/// What the rows need of a runtime. The values are made once and never dropped.
pub trait Peer: Copy + Send + Sync + 'static {
    const NAME: &'static str;

    type Listener: Send;
    type Stream: Send + 'static;

    /// Runs a task to its end: on a worker where there are some, or else on this thread.
    fn run<T: Send + 'static>(self, future: impl Future<Output = T> + Send + 'static) -> T;
    /// Drives the future on this thread.
    fn block_on<T>(self, future: impl Future<Output = T>) -> T;
    fn spawn<T: Send + 'static>(
        self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> impl Future<Output = T> + Send + 'static;
    fn yield_now() -> impl Future<Output = ()> + Send;
    fn sleep(duration: Duration) -> impl Future<Output = ()> + Send;
    /// With a limit that is not reached.
    fn in_time<T: Send>(limit: Duration, future: impl Future<Output = T> + Send) -> impl Future<Output = T> + Send;
    fn listen() -> impl Future<Output = (Self::Listener, SocketAddr)> + Send;
    fn accept(listener: &Self::Listener) -> impl Future<Output = Self::Stream> + Send;
    fn connect(addr: SocketAddr) -> impl Future<Output = Self::Stream> + Send;
    /// Takes over a socket that blocks not.
    fn adopt(socket: std::net::TcpStream) -> Self::Stream;
    fn read(stream: &mut Self::Stream, buffer: &mut [u8]) -> impl Future<Output = io::Result<usize>> + Send;
    fn write_all(stream: &mut Self::Stream, bytes: &[u8]) -> impl Future<Output = io::Result<()>> + Send;
}

const LOCAL: &str = "127.0.0.1:0";

/// The sockets of a runtime, all of which have methods of the same names. Whose listener does not do it by itself is told to
/// send without delay.
macro_rules! sockets {
    ($($net:ident)::+, $adopt:ident, nodelay: $is_nodelay:literal $(, $traits:item)?) => {
        type Listener = $($net)::+::TcpListener;
        type Stream = $($net)::+::TcpStream;

        async fn listen() -> (Self::Listener, SocketAddr) {
            let listener = Self::Listener::bind(LOCAL).await.expect("a listener");
            let addr = listener.local_addr().expect("its address");
            (listener, addr)
        }

        async fn accept(listener: &Self::Listener) -> Self::Stream {
            let (stream, _) = listener.accept().await.expect("a connection");
            if !$is_nodelay {
                stream.set_nodelay(true).expect("an option");
            }
            stream
        }

        async fn connect(addr: SocketAddr) -> Self::Stream {
            let stream = Self::Stream::connect(addr).await.expect("a connection");
            if !$is_nodelay {
                stream.set_nodelay(true).expect("an option");
            }
            stream
        }

        fn adopt(socket: std::net::TcpStream) -> Self::Stream {
            Self::Stream::$adopt(socket).expect("a socket")
        }

        async fn read(stream: &mut Self::Stream, buffer: &mut [u8]) -> io::Result<usize> {
            $(
                #[allow(unused_imports)]
                $traits
            )?
            stream.read(buffer).await
        }

        async fn write_all(stream: &mut Self::Stream, bytes: &[u8]) -> io::Result<()> {
            $(
                #[allow(unused_imports)]
                $traits
            )?
            stream.write_all(bytes).await
        }
    };
}

/// Tasks of a runtime with `spawn` and `block_on`, whose results are `Result`s.
macro_rules! tasks {
    () => {
        fn run<T: Send + 'static>(self, future: impl Future<Output = T> + Send + 'static) -> T {
            let task = self.runtime.spawn(future);
            if self.has_workers { smol::future::block_on(task) } else { self.runtime.block_on(task) }.expect("a result")
        }

        fn block_on<T>(self, future: impl Future<Output = T>) -> T {
            self.runtime.block_on(future)
        }

        fn spawn<T: Send + 'static>(
            self,
            future: impl Future<Output = T> + Send + 'static,
        ) -> impl Future<Output = T> + Send + 'static {
            let task = self.runtime.spawn(future);
            async { task.await.expect("a result") }
        }
    };
}

#[derive(Clone, Copy, Debug)]
pub struct Bourn {
    runtime: &'static bourn::Runtime,
    has_workers: bool,
}

impl Bourn {
    pub fn current_thread() -> Bourn {
        Bourn::built(&bourn::runtime::Builder::new_current_thread(), false)
    }

    pub fn workers(count: usize) -> Bourn {
        Bourn::built(&bourn::runtime::Builder::new_multi_thread().worker_threads(count), true)
    }

    pub fn built(builder: &bourn::runtime::Builder, has_workers: bool) -> Bourn {
        Bourn { runtime: Box::leak(Box::new(builder.build().expect("a runtime"))), has_workers }
    }

    pub fn metrics(self) -> bourn::runtime::Metrics {
        self.runtime.metrics()
    }
}

impl Peer for Bourn {
    const NAME: &'static str = "bourn";

    sockets!(bourn::net, from_std, nodelay: true);
    tasks!();

    fn yield_now() -> impl Future<Output = ()> + Send {
        bourn::task::yield_now()
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> + Send {
        bourn::time::sleep(duration)
    }

    async fn in_time<T: Send>(limit: Duration, future: impl Future<Output = T> + Send) -> T {
        bourn::time::timeout(limit, future).await.expect("in time")
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Tokio {
    runtime: &'static tokio::runtime::Runtime,
    has_workers: bool,
}

impl Tokio {
    pub fn current_thread() -> Tokio {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Tokio { runtime: Box::leak(Box::new(runtime)), has_workers: false }
    }

    pub fn workers(count: usize) -> Tokio {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(count).enable_all().build().expect("a runtime");
        Tokio { runtime: Box::leak(Box::new(runtime)), has_workers: true }
    }
}

impl Peer for Tokio {
    const NAME: &'static str = "tokio";

    sockets!(tokio::net, from_std, nodelay: false, use tokio::io::{AsyncReadExt, AsyncWriteExt};);
    tasks!();

    fn yield_now() -> impl Future<Output = ()> + Send {
        tokio::task::yield_now()
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(duration)
    }

    async fn in_time<T: Send>(limit: Duration, future: impl Future<Output = T> + Send) -> T {
        tokio::time::timeout(limit, future).await.expect("in time")
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Smol {
    executor: &'static smol::Executor<'static>,
    has_workers: bool,
}

impl Smol {
    pub fn current_thread() -> Smol {
        Smol { executor: Box::leak(Box::new(smol::Executor::new())), has_workers: false }
    }

    /// As `smol::spawn` does it: threads that run the executor, each inside a `block_on` of async-io's.
    pub fn workers(count: usize) -> Smol {
        let executor: &'static smol::Executor<'static> = Box::leak(Box::new(smol::Executor::new()));
        for _ in 0..count {
            drop(thread::spawn(|| smol::block_on(executor.run(pending::<()>()))));
        }
        Smol { executor, has_workers: true }
    }
}

impl Peer for Smol {
    const NAME: &'static str = "smol";

    sockets!(smol::net, try_from, nodelay: false, use smol::io::{AsyncReadExt, AsyncWriteExt};);

    fn run<T: Send + 'static>(self, future: impl Future<Output = T> + Send + 'static) -> T {
        let task = self.executor.spawn(future);
        if self.has_workers { smol::future::block_on(task) } else { smol::block_on(self.executor.run(task)) }
    }

    fn block_on<T>(self, future: impl Future<Output = T>) -> T {
        smol::block_on(self.executor.run(future))
    }

    fn spawn<T: Send + 'static>(
        self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> impl Future<Output = T> + Send + 'static {
        self.executor.spawn(future)
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        smol::future::yield_now()
    }

    async fn sleep(duration: Duration) {
        smol::Timer::after(duration).await;
    }

    async fn in_time<T: Send>(limit: Duration, future: impl Future<Output = T> + Send) -> T {
        let late = async {
            smol::Timer::after(limit).await;
            panic!("in time")
        };
        smol::future::or(future, late).await
    }
}

pub fn clock(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the place for the time outlives the call.
    let result = unsafe { libc::clock_gettime(clock, &mut time) };
    assert_eq!(result, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The processor time of this process.
pub fn cpu_time() -> Duration {
    clock(libc::CLOCK_PROCESS_CPUTIME_ID)
}
