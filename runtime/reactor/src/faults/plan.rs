//! Which calls fail, and how.

use std::fs;
use std::io;
use std::os::fd::RawFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Call;
use crate::sys;

static PLAN: Mutex<Option<Plan>> = Mutex::new(None);

fn plan() -> MutexGuard<'static, Option<Plan>> {
    PLAN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One way for a call to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `EINTR`.
    Interrupted,
    /// `EAGAIN` although the call could be served. The report that a kernel owes
    /// after it is made.
    WouldBlock,
    /// Fewer bytes than there are or is room for; the report is made likewise.
    Short,
    /// This error.
    Error(i32),
}

impl Fault {
    /// Every fault that no user must ever notice.
    pub const HIDDEN: [Fault; 3] = [Fault::Interrupted, Fault::WouldBlock, Fault::Short];

    /// Every error that says that something has run out, or that a firewall or
    /// the peer has changed its mind.
    pub const ERRORS: [Fault; 7] = [
        Fault::Error(libc::EMFILE),
        Fault::Error(libc::ENFILE),
        Fault::Error(libc::ENOBUFS),
        Fault::Error(libc::ENOMEM),
        Fault::Error(libc::ECONNABORTED),
        Fault::Error(libc::EPERM),
        Fault::Error(libc::ENOSPC),
    ];

    /// Whether `call` can fail like this, as its manual page says.
    fn befalls(self, call: Call) -> bool {
        use Call::*;
        match self {
            Fault::Interrupted => !matches!(call, Open | Option | Add),
            Fault::WouldBlock => !matches!(call, Open | Connect | Option | Add | Wait | Ring),
            // A datagram that is cut is lost, which no kernel does by itself.
            Fault::Short => matches!(call, Receive | Send),
            Fault::Error(libc::EMFILE | libc::ENFILE) => matches!(call, Open | Accept),
            Fault::Error(libc::ENOBUFS) => !matches!(call, Add | Wait | Notify | Ring),
            Fault::Error(libc::ENOMEM) => !matches!(call, Notify | Ring),
            Fault::Error(libc::ECONNABORTED) => call == Accept,
            Fault::Error(libc::EPERM) => matches!(call, Accept | Connect | SendDatagram),
            Fault::Error(libc::ENOSPC) => call == Add,
            Fault::Error(_) => true,
        }
    }
}

/// Which of the calls that a fault can befall it does befall.
#[derive(Clone, Copy, Debug)]
enum Choice {
    Every(u64),
    Only(u64),
    OneIn(u64),
}

/// A plan of faults; the same calls in the same order meet the same ones.
#[derive(Debug)]
pub struct Plan {
    faults: Vec<Fault>,
    choice: Choice,
    state: u64,
    calls: u64,
    injected: u64,
}

impl Plan {
    fn new(faults: &[Fault], choice: Choice, seed: u64) -> Plan {
        Plan { faults: faults.to_vec(), choice, state: seed, calls: 0, injected: 0 }
    }

    /// Every `nth` call that one of `faults` can befall.
    ///
    /// # Panics
    /// If that is every one, which would let no loop end.
    pub fn every(nth: u64, faults: &[Fault]) -> Plan {
        assert!(nth > 1, "a call that always fails is tried for ever");
        Plan::new(faults, Choice::Every(nth), nth)
    }

    /// The `nth` call alone that one of `faults` can befall, the first being 1.
    pub fn only(nth: u64, faults: &[Fault]) -> Plan {
        Plan::new(faults, Choice::Only(nth), nth)
    }

    /// On average one in `rate` of the calls that one of `faults` can befall, as
    /// `seed` draws them.
    pub fn mixed(seed: u64, rate: u64, faults: &[Fault]) -> Plan {
        Plan::new(faults, Choice::OneIn(rate), seed)
    }

    /// Lets the calls of this process fail until what is returned is dropped. A
    /// plan that is in place already is replaced.
    pub fn install(self) -> Installed {
        *plan() = Some(self);
        Installed(())
    }

    /// The next number of SplitMix64 (Steele and others, 2014).
    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut drawn = self.state;
        drawn = (drawn ^ (drawn >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        drawn = (drawn ^ (drawn >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        drawn ^ (drawn >> 31)
    }

    fn next(&mut self, call: Call, asked: usize) -> Option<(Fault, u64)> {
        let possible = |fault: &Fault| fault.befalls(call) && (*fault != Fault::Short || asked > 1);
        let count = self.faults.iter().filter(|fault| possible(fault)).count();
        if count == 0 {
            return None;
        }
        self.calls += 1;
        let drawn = self.draw();
        let chosen = match self.choice {
            Choice::Every(nth) => self.calls.is_multiple_of(nth),
            Choice::Only(nth) => self.calls == nth,
            Choice::OneIn(rate) => drawn.is_multiple_of(rate),
        };
        if !chosen {
            return None;
        }
        self.injected += 1;
        let pick = self.draw() as usize % count;
        let length = self.draw();
        let mut faults = self.faults.iter().filter(|fault| possible(fault));
        faults.nth(pick).map(|fault| (*fault, length))
    }
}

/// A plan is in place until this is dropped.
#[derive(Debug)]
pub struct Installed(());

impl Installed {
    /// How many calls have failed by plan.
    pub fn injected(&self) -> u64 {
        plan().as_ref().map_or(0, |plan| plan.injected)
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        *plan() = None;
    }
}

pub(super) fn told(call: Call, fd: RawFd, asked: usize) -> io::Result<usize> {
    let next = plan().as_mut().and_then(|plan| plan.next(call, asked));
    match next {
        None => Ok(asked),
        Some((Fault::Interrupted, _)) => Err(io::Error::from_raw_os_error(libc::EINTR)),
        Some((Fault::Error(code), _)) => Err(io::Error::from_raw_os_error(code)),
        Some((Fault::WouldBlock, _)) => {
            report_again(fd);
            Err(io::Error::from_raw_os_error(libc::EAGAIN))
        }
        Some((Fault::Short, drawn)) => {
            report_again(fd);
            Ok(1 + drawn as usize % (asked - 1))
        }
    }
}

/// Lets every epoll instance that holds `fd` report again what is pending there:
/// an edge-triggered one would keep silent about what the kernel has not really
/// said. They are found in proc_pid_fdinfo(5), so that no other code has to keep
/// account of them. What polls levels reports again by itself.
///
/// It comes before the call that is cut short, and so before what is known is
/// cleared: a report that is taken from the kernel in between counts as news.
fn report_again(fd: RawFd) {
    let Ok(descriptors) = fs::read_dir("/proc/self/fd") else {
        return;
    };
    for descriptor in descriptors.flatten() {
        let is_epoll = fs::read_link(descriptor.path()).is_ok_and(|file| file.as_os_str() == "anon_inode:[eventpoll]");
        let name = descriptor.file_name().into_string().unwrap_or_default();
        let Some(epoll) = name.parse().ok().filter(|_| is_epoll) else {
            continue;
        };
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{name}")).unwrap_or_default();
        for line in info.lines() {
            if let ["tfd:", held, "events:", events, "data:", data, ..] =
                line.split_whitespace().collect::<Vec<_>>()[..]
                && held.parse() == Ok(fd)
                && let Ok(events) = u32::from_str_radix(events, 16)
                && let Ok(data) = u64::from_str_radix(data, 16)
            {
                // One that was removed meanwhile owes nothing.
                sys::epoll_modify(epoll, fd, events, data).ok();
            }
        }
    }
}
