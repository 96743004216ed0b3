//! What the tests of this crate share: a watchdog, every backend by one macro,
//! a process of one's own, and pairs of connected sockets.
#![allow(dead_code, unused_imports, unused_macros, reason = "each test file uses its part")]

use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::process::{self, Command};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Wake, Waker};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bourn_reactor::{Backend, Reactor, RuntimeId, Turned, Wait};

/// Far more than any test here takes, on a machine that does something else.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long something may take that happens at once, before it counts as lost.
pub const SOON: Duration = Duration::from_secs(10);

/// Makes a test of each function `fn(Backend)` on each backend.
macro_rules! on_every_backend {
    ($($name:ident),+ $(,)?) => {
        $crate::harness::on_every_backend!(@ epoll Epoll $($name)+);
        $crate::harness::on_every_backend!(@ poll Poll $($name)+);
        $crate::harness::on_every_backend!(@ select Select $($name)+);
        $crate::harness::on_every_backend!(@ mio Mio $($name)+);
    };
    (@ $module:ident $backend:ident $($name:ident)+) => {
        mod $module {
            $(
                #[test]
                fn $name() {
                    let name = concat!(stringify!($module), "::", stringify!($name));
                    $crate::harness::watched(name, || super::$name(bourn_reactor::Backend::$backend));
                }
            )+
        }
    };
}
pub(crate) use on_every_backend;

/// Runs a test, and ends the process with its name if it hangs.
pub fn watched(name: &str, test: impl FnOnce()) {
    let (done, is_done) = mpsc::channel::<()>();
    let name = name.to_owned();
    thread::spawn(move || {
        if is_done.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            // Not `eprintln!`, which the test harness keeps to itself, and loses here.
            let _told = writeln!(std::io::stderr(), "{name} hangs: not done after {PATIENCE:?}");
            process::abort();
        }
    });
    test();
    drop(done);
}

/// Runs `test`, which is the body of the test `name` of this file, in a process
/// where nothing else runs, and whose background reactor uses `backend`.
pub fn alone(backend: Backend, name: &str, test: impl FnOnce()) {
    const VARIABLE: &str = "BOURN_TEST_ALONE";
    let name = format!("{backend}::{name}");
    if std::env::var_os(VARIABLE).is_some_and(|alone| alone == *name) {
        return test();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([&name, "--exact", "--nocapture", "--test-threads=1"])
        .env(VARIABLE, &name)
        .env(Backend::VARIABLE, backend.name())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && told.contains("1 passed"),
        "{name}, in its own process: {}\n{told}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr),
    );
}

/// Lets this process have `count` descriptors.
pub fn allow_descriptors(count: u64) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is writable and lives through the call.
    let got = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    assert_eq!(got, 0);
    assert!(limit.rlim_max >= count, "this test needs {count} descriptors, and may have {}", limit.rlim_max);
    limit.rlim_cur = limit.rlim_cur.max(count);
    // SAFETY: `limit` is readable and lives through the call.
    let set = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    assert_eq!(set, 0, "{}", io::Error::last_os_error());
}

/// A duplicate whose number is the lowest free one from `lowest` on.
pub fn duplicate_above(fd: &impl AsRawFd, lowest: RawFd) -> OwnedFd {
    // SAFETY: takes no pointer.
    let duplicate = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, lowest) };
    assert!(duplicate >= 0, "{}", io::Error::last_os_error());
    // SAFETY: the kernel just made it and nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(duplicate) }
}

/// The number that the kernel gave to the calling thread.
pub fn thread_id() -> libc::pid_t {
    // SAFETY: takes no argument.
    unsafe { libc::gettid() }
}

/// Returns when thread `id` of this process sleeps in the kernel.
pub fn until_asleep(id: libc::pid_t) {
    let deadline = Instant::now() + SOON;
    loop {
        let stat = fs::read_to_string(format!("/proc/self/task/{id}/stat")).unwrap();
        // The name before it is in parentheses and may hold anything (proc(5)).
        let (_, after_name) = stat.rsplit_once(") ").unwrap();
        if after_name.starts_with('S') {
            return;
        }
        assert!(Instant::now() < deadline, "thread {id} does not go to sleep: {stat}");
        thread::yield_now();
    }
}

/// How long the calling thread has run on a processor.
pub fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable and lives through the call.
    let got = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(got, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Two connected, non-blocking Unix sockets.
pub fn unix_pair() -> (UnixStream, UnixStream) {
    let (near, far) = UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    far.set_nonblocking(true).unwrap();
    (near, far)
}

/// Two connected, non-blocking TCP sockets.
pub fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (near, _) = listener.accept().unwrap();
    near.set_nonblocking(true).unwrap();
    far.set_nonblocking(true).unwrap();
    (near, far)
}

/// Sets an integer option.
pub fn set_option(socket: &impl AsRawFd, level: libc::c_int, name: libc::c_int, value: libc::c_int) {
    // SAFETY: `value` is readable for its size and lives through the call.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    assert_eq!(set, 0, "{}", io::Error::last_os_error());
}

/// Closes a connection with RST instead of FIN.
pub fn reset(socket: TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    // SAFETY: `linger` is readable for its size and lives through the call.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of_val(&linger) as libc::socklen_t,
        )
    };
    assert_eq!(set, 0, "{}", io::Error::last_os_error());
}

/// Reads until `WouldBlock`; the number of bytes.
pub fn drain(mut socket: impl Read) -> usize {
    let mut buf = vec![0; 1 << 16];
    let mut total = 0;
    loop {
        match socket.read(&mut buf) {
            Ok(0) => panic!("the end of the stream, after {total} bytes"),
            Ok(count) => total += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return total,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Writes until `WouldBlock`; the number of bytes.
pub fn fill(mut socket: impl Write) -> usize {
    let buf = vec![0; 1 << 16];
    let mut total = 0;
    loop {
        match socket.write(&buf) {
            Ok(count) => total += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return total,
            Err(error) => panic!("{error}"),
        }
    }
}

/// A reactor of a runtime of its own.
pub fn reactor(backend: Backend) -> Arc<Reactor> {
    Reactor::new(backend, RuntimeId::new()).unwrap()
}

/// A thread that turns a reactor until this is dropped.
pub struct Turner {
    reactor: Arc<Reactor>,
    over: Arc<AtomicBool>,
    turns: Arc<AtomicUsize>,
    id: libc::pid_t,
    thread: Option<JoinHandle<()>>,
}

impl Turner {
    pub fn start(reactor: &Arc<Reactor>) -> Turner {
        let over = Arc::new(AtomicBool::new(false));
        let turns = Arc::new(AtomicUsize::new(0));
        let (told, id) = mpsc::channel();
        let thread = thread::spawn({
            let (reactor, over, turns) = (Arc::clone(reactor), Arc::clone(&over), Arc::clone(&turns));
            move || {
                told.send(thread_id()).unwrap();
                while !over.load(Ordering::Acquire) {
                    assert_eq!(reactor.turn(Wait::Forever).unwrap(), Turned::Done);
                    turns.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Turner { reactor: Arc::clone(reactor), over, turns, id: id.recv().unwrap(), thread: Some(thread) }
    }

    /// How many turns have ended.
    pub fn turns(&self) -> usize {
        self.turns.load(Ordering::Relaxed)
    }

    /// Returns when the thread sleeps in its turn.
    pub fn until_asleep(&self) {
        until_asleep(self.id);
    }

    /// How often the thread has gone to sleep (`proc(5)`).
    pub fn sleeps(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/self/task/{}/status", self.id)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.unwrap().trim().parse().unwrap()
    }
}

impl Drop for Turner {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        self.reactor.unpark().unwrap();
        let ended = self.thread.take().unwrap().join();
        if !thread::panicking() {
            ended.unwrap();
        }
    }
}

/// Counts how often a task was woken.
#[derive(Default)]
pub struct Wakes {
    count: Mutex<usize>,
    changed: Condvar,
}

impl Wakes {
    pub fn new() -> (Arc<Wakes>, Waker) {
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        (wakes, waker)
    }

    pub fn count(&self) -> usize {
        *self.count.lock().unwrap()
    }

    /// Returns when the count is at least `count`.
    #[track_caller]
    pub fn until(&self, count: usize) {
        let now = self.count.lock().unwrap();
        let (now, _) = self.changed.wait_timeout_while(now, SOON, |now| *now < count).unwrap();
        assert!(*now >= count, "woken {} times instead of {count}", *now);
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        *self.count.lock().unwrap() += 1;
        self.changed.notify_all();
    }
}
