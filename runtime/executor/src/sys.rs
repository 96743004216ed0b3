//! The system calls of this crate.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// The time since some moment, to within 10 milliseconds; a quarter of the price of an `Instant`.
pub(crate) fn coarse_now() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes to the place that it is given. With this clock the call does not fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut now) };
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// The kernel's number of this thread.
pub(crate) fn thread_number() -> u64 {
    // SAFETY: gettid(2) takes nothing, changes nothing and does not fail.
    u64::try_from(unsafe { libc::gettid() }).unwrap_or(0)
}

/// Lets this thread run on one processor alone: of those that it may use, the one with this number, counted round.
///
/// Does nothing where the system refuses.
pub(crate) fn pin_thread(number: usize) {
    // SAFETY: a set is plain bits, of which none is a valid value.
    let mut allowed: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes at most as many bytes as it is told there are.
    if unsafe { libc::sched_getaffinity(0, size_of_val(&allowed), &raw mut allowed) } != 0 {
        return;
    }
    // SAFETY: every number below CPU_SETSIZE is inside the set.
    let mut is_allowed = |cpu: &usize| unsafe { libc::CPU_ISSET(*cpu, &allowed) };
    let limit = usize::try_from(libc::CPU_SETSIZE).unwrap_or(0);
    let count = (0..limit).filter(&mut is_allowed).count().max(1);
    let Some(cpu) = (0..limit).filter(is_allowed).nth(number % count) else { return };
    // SAFETY: as above.
    let mut one: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    unsafe { libc::CPU_SET(cpu, &mut one) };
    // SAFETY: the kernel reads as many bytes as it is told there are. A refusal leaves the thread where it was.
    let _refused = unsafe { libc::sched_setaffinity(0, size_of_val(&one), &raw const one) };
}

/// How many `fork(2)`s lie between this process and the one that asked first, or more: whoever finds another number than at its
/// birth is a forked child's copy. Each spawn from outside asks, and getpid(2), which would tell, is a system call. `_Fork(3)`,
/// vfork(2) and a bare clone(2) call no handlers, and are not noticed.
#[inline]
pub(crate) fn forks() -> u32 {
    static FORKS: AtomicU32 = AtomicU32::new(0);
    static IS_COUNTED: AtomicBool = AtomicBool::new(false);

    extern "C" fn count() {
        FORKS.fetch_add(1, Ordering::Relaxed);
    }

    // Not a `Once`, in which a child that is forked meanwhile would wait for ever. Where two threads come here together, a fork
    // counts twice, which is another number as well; where there is no memory for the handler, the next one tries again.
    // SAFETY: `count` is async-signal-safe (one atomic add), which is what pthread_atfork(3) asks of a child's handler.
    if !IS_COUNTED.load(Ordering::Acquire) && unsafe { libc::pthread_atfork(None, None, Some(count)) } == 0 {
        IS_COUNTED.store(true, Ordering::Release);
    }
    FORKS.load(Ordering::Relaxed)
}
