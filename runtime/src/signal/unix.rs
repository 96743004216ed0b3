//! Listeners for the signals of Unix, under tokio's names.

use std::io;
use std::os::unix::net;
use std::task::{Context, Poll, ready};

use signal_hook_registry::SigId;

use crate::net::UnixStream;
use crate::signal::handler;

/// Which signal: one of the named ones, or any by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SignalKind(libc::c_int);

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:ident;)*) => {
        impl SignalKind {
            $($(#[$doc])* pub const fn $name() -> SignalKind {
                SignalKind(libc::$number)
            })*
        }
    };
}

kinds! {
    /// SIGALRM: a timer of alarm(2) is over.
    alarm = SIGALRM;
    /// SIGCHLD: a child process has ended or stopped.
    child = SIGCHLD;
    /// SIGHUP: the terminal is gone; by custom, daemons read their configuration again.
    hangup = SIGHUP;
    /// SIGINT: Ctrl-C at the terminal.
    interrupt = SIGINT;
    /// SIGIO: a descriptor with `O_ASYNC` is ready (fcntl(2)).
    io = SIGIO;
    /// SIGPIPE: a write into a pipe that nobody reads.
    pipe = SIGPIPE;
    /// SIGQUIT: Ctrl-\ at the terminal.
    quit = SIGQUIT;
    /// SIGTERM: a request to end.
    terminate = SIGTERM;
    /// SIGUSR1.
    user_defined1 = SIGUSR1;
    /// SIGUSR2.
    user_defined2 = SIGUSR2;
    /// SIGWINCH: the terminal has another size.
    window_change = SIGWINCH;
}

impl SignalKind {
    /// The signal with this number, such as a real-time one.
    pub const fn from_raw(number: libc::c_int) -> SignalKind {
        SignalKind(number)
    }

    /// The signal's number.
    pub const fn as_raw_value(&self) -> libc::c_int {
        self.0
    }
}

/// How many rings are taken out of the bell at once; what is left is told once more.
const ROOM: usize = 512;

/// Listens for `kind` from now on.
///
/// It works in any thread and under any executor, and costs two descriptors.
///
/// # Errors
/// [`InvalidInput`](io::ErrorKind::InvalidInput) for SIGKILL, SIGSTOP, SIGILL, SIGFPE
/// and SIGSEGV; what the kernel says to a number that is no signal (`EINVAL`), or if
/// it has no descriptors left.
pub fn signal(kind: SignalKind) -> io::Result<Signal> {
    let (bell, rope) = net::UnixStream::pair()?;
    rope.set_nonblocking(true)?;
    let bell = UnixStream::from_std(bell)?;
    Ok(Signal { id: handler::install(kind.0, rope)?, bell, owner: std::process::id() })
}

/// A listener for one kind of signal; made by [`signal`].
#[derive(Debug)]
#[must_use = "dropping it ends listening"]
pub struct Signal {
    id: SigId,
    /// Rung by the handler.
    bell: UnixStream,
    owner: u32,
}

impl Signal {
    /// Waits for a signal that has come since the last one was received; several in
    /// between are one.
    ///
    /// `None` if it can not be waited for: the kernel refuses to watch another
    /// descriptor, or this is a forked child, whose listeners are its parent's.
    ///
    /// # Cancel safety
    /// Nothing is lost: the next call returns the signal.
    pub async fn recv(&mut self) -> Option<()> {
        self.told().await.ok()
    }

    /// As [`recv`](Signal::recv); on `Pending`, the task is woken when a signal comes.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        if !self.is_ours() {
            return Poll::Ready(None);
        }
        loop {
            // First: what has come is told also where nothing can be watched.
            match self.bell.try_read(&mut [0; ROOM]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                told => return Poll::Ready(told.map(drop).ok()),
            }
            if ready!(self.bell.poll_read_ready(cx)).is_err() {
                return Poll::Ready(None);
            }
        }
    }

    /// What `recv` waits for. Not by `poll_recv`, whose wakers stay when the wait is given up.
    pub(super) async fn told(&mut self) -> io::Result<()> {
        if !self.is_ours() {
            return Err(io::Error::other("a forked child can not receive its parent's signals"));
        }
        self.bell.read(&mut [0; ROOM]).await.map(drop)
    }

    /// False in a forked child, where it is never told anything.
    pub(crate) fn is_ours(&self) -> bool {
        self.owner == std::process::id()
    }
}

impl Drop for Signal {
    fn drop(&mut self) {
        // The child's copy of the registry may be locked for ever.
        if self.is_ours() {
            signal_hook_registry::unregister(self.id);
        }
    }
}
