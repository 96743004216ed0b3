//! What the server tests share: every flavour and backend by one macro, a watchdog that
//! says which test hung, and servers that are easily started.
#![allow(dead_code, unused_imports, unused_macros, reason = "each test file uses a part of it")]

use std::future::Future;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use bourn::runtime::{Builder, Runtime};
use bourn::server::{Connection, Control, Outcome, Report, Server};
use bourn::{Backend, JoinHandle};

/// The longest that any test may take, on a machine that is busy with all the others.
const PATIENCE: Duration = Duration::from_secs(120);
/// Set in a process that runs one test.
const ALONE: &str = "BOURN_TEST_ALONE";

/// Ends the process with a message if `what` lasts too long.
pub fn watched<R>(what: &str, body: impl FnOnce() -> R) -> R {
    let (done, watch) = mpsc::channel::<()>();
    let name = what.to_owned();
    thread::spawn(move || {
        if watch.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
            // Not `eprintln!`, which the test harness keeps to itself, and loses here.
            let _told = writeln!(std::io::stderr(), "{name} hangs: not done after {PATIENCE:?}");
            std::process::abort();
        }
    });
    let result = body();
    drop(done);
    result
}

pub fn current_thread(backend: Backend) -> Runtime {
    Builder::new_current_thread().backend(backend).build().expect("a runtime")
}

pub fn multi_thread() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).build().expect("a runtime")
}

pub fn thread_per_core() -> Runtime {
    Builder::new_thread_per_core().worker_threads(2).build().expect("a runtime")
}

/// Makes a test of each async function in each kind of runtime.
macro_rules! everywhere {
    ($($name:ident),+ $(,)?) => {
        $crate::harness::everywhere!(@ epoll, $crate::harness::current_thread(bourn::Backend::Epoll), $($name),+);
        $crate::harness::everywhere!(@ poll, $crate::harness::current_thread(bourn::Backend::Poll), $($name),+);
        $crate::harness::everywhere!(@ select, $crate::harness::current_thread(bourn::Backend::Select), $($name),+);
        $crate::harness::everywhere!(@ mio, $crate::harness::current_thread(bourn::Backend::Mio), $($name),+);
        $crate::harness::everywhere!(@ workers, $crate::harness::multi_thread(), $($name),+);
        $crate::harness::everywhere!(@ cores, $crate::harness::thread_per_core(), $($name),+);
    };
    (@ $module:ident, $runtime:expr, $($name:ident),+) => {
        mod $module {
            $(#[test]
            fn $name() {
                let name = concat!(stringify!($module), "::", stringify!($name));
                $crate::harness::watched(name, || $runtime.block_on(super::$name()));
            })+
        }
    };
}
pub(crate) use everywhere;

/// Calls `test` in a process of its own, in which it is the test `name` again.
pub fn alone(name: &str, test: impl FnOnce()) {
    if std::env::var_os(ALONE).is_some() {
        return watched(name, test);
    }
    let output = again(name).output().expect("a process for the test");
    let (said, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name}: {}\n{said}\n{wrong}", output.status);
    assert!(said.contains("1 passed"), "{name} was not found:\n{said}");
}

/// The command that runs the test `name` of this binary alone.
pub fn again(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("the path of the tests"));
    command.args(["--exact", name, "--test-threads=1", "--nocapture"]).env(ALONE, "1");
    command
}

/// Waits for a condition that some other task or thread brings about.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE / 2, "not so: {what}");
        bourn::time::sleep(Duration::from_millis(1)).await;
    }
}

/// What a server says.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    pub fn hook(&self) -> impl Fn(&str) + Send + Sync + 'static {
        let lines = Arc::clone(&self.0);
        move |line| lines.lock().expect("no panic").push(line.to_owned())
    }

    pub fn contain(&self, part: &str) -> bool {
        self.0.lock().expect("no panic").iter().any(|line| line.contains(part))
    }
}

/// A server that runs in a task.
pub struct Running {
    pub addr: SocketAddr,
    pub control: Control,
    pub lines: Lines,
    pub server: JoinHandle<Report>,
}

impl Running {
    pub async fn connect(&self) -> bourn::net::TcpStream {
        bourn::net::TcpStream::connect(self.addr).await.expect("a server")
    }

    /// Drains the server and tells how that went.
    pub async fn drained(self) -> Report {
        self.control.drain();
        self.server.await.expect("no panic")
    }
}

/// Starts a server on a port of its own, without signals.
pub async fn start<F, R>(server: Server, handler: F) -> Running
where
    F: Fn(Connection) -> R + Send + Sync + 'static,
    R: Future<Output: Outcome> + Send + 'static,
{
    let lines = Lines::default();
    let server = server.signals(false).on_notice(lines.hook()).bind("127.0.0.1:0").await;
    let mut server = server.expect("a port is free");
    let addr = server.local_addrs()[0].tcp().expect("an address of TCP");
    let control = server.control();
    let server = bourn::spawn(async move { server.serve(handler).await.expect("it serves") });
    Running { addr, control, lines, server }
}

/// Serves each line with itself, until there is no more.
pub async fn echo(connection: Connection) -> std::io::Result<()> {
    let mut buf = [0; 1024];
    while connection.more().await? {
        let length = connection.read(&mut buf).await?;
        connection.write_all(&buf[..length]).await?;
    }
    Ok(())
}
