//! What runs inside a signal handler: the only place of this crate with `unsafe`.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;

use signal_hook_registry::{FORBIDDEN, SigId};

/// Writes into `rope`, which is non-blocking, whenever the signal comes.
pub(super) fn install(signal: libc::c_int, rope: UnixStream) -> io::Result<SigId> {
    if FORBIDDEN.contains(&signal) {
        let message = format!(
            "signal {signal} can not be waited for: SIGKILL and SIGSTOP can not be caught (signal(7)), and SIGILL, \
             SIGFPE and SIGSEGV end the program where it is wrong"
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let owner = std::process::id();
    let ring = move || {
        // A forked child shares the pair with its parent, whom its signals do not concern.
        if std::process::id() == owner {
            // Where no byte fits, others wait to be read.
            let _told = (&rope).write(&[1]);
        }
    };
    // SAFETY: getpid(2), and one send(2) or write(2), are async-signal-safe
    // (signal-safety(7)), and std does not allocate, lock or panic around them. The
    // registry keeps `errno`, and calls `ring` no more once it is taken out.
    unsafe { signal_hook_registry::register(signal, ring) }
}
