//! How late sleeps are, on an idle runtime, beside the bare kernel wait and tokio.
//!
//! ```text
//! cargo run --release -p bourn-bench --bin lateness [-- --check]
//! ```
//!
//! The contestants take turns, one sleep each, in every round, so that whatever
//! the machine does meets them all. Medians in microseconds. The ten seconds are
//! slept once by each. The bare wait has the thread's ordinary timer slack of
//! 50 us, as tokio has; bourn sets its own.
//!
//! With `--check` the program fails if any sleep was early, or if three times out of
//! three bourn's ten seconds were late by half of what the kernel allows itself in a
//! plain wait, 0.1 % (`select_estimate_accuracy` in fs/select.c): such waits have to
//! be made in two. That is 5 ms and not tighter, as a virtual machine may wake up
//! milliseconds late, which is no property of a runtime. Part of that is kept off by
//! threads that compute at the lowest priority, `SCHED_IDLE` (`sched(7)`), so that no
//! processor halts meanwhile, and that any other thread displaces at once.

use std::error::Error;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// A bare `epoll_pwait2(2)` on an empty set.
struct Bare {
    epoll: OwnedFd,
}

impl Bare {
    fn new() -> Outcome<Bare> {
        // SAFETY: takes no pointer.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if epoll == -1 {
            return Err(std::io::Error::last_os_error().into());
        }
        // SAFETY: the kernel just made it.
        let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
        Ok(Bare { epoll })
    }

    fn sleep(&self, duration: Duration) {
        let timeout =
            libc::timespec { tv_sec: duration.as_secs() as libc::time_t, tv_nsec: duration.subsec_nanos().into() };
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: one event fits, the time-out outlives the call, no mask is given.
        unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.epoll.as_raw_fd(),
                &raw mut event,
                1,
                &raw const timeout,
                std::ptr::null::<libc::sigset_t>(),
                0usize,
            )
        };
    }
}

struct Contestants {
    bare: Bare,
    bourn: bourn::Runtime,
    tokio: tokio::runtime::Runtime,
}

const NAMES: [&str; 3] = ["epoll_pwait2", "bourn", "tokio"];

impl Contestants {
    /// One sleep each; how late they were.
    fn round(&self, duration: Duration) -> [Lateness; 3] {
        let bare = lateness(duration, || self.bare.sleep(duration));
        let bourn = self.bourn(duration);
        let tokio = self.tokio.block_on(async {
            let start = Instant::now();
            tokio::time::sleep(duration).await;
            Lateness::of(start.elapsed(), duration)
        });
        [bare, bourn, tokio]
    }
}

impl Contestants {
    fn bourn(&self, duration: Duration) -> Lateness {
        self.bourn.block_on(async {
            let start = Instant::now();
            bourn::time::sleep(duration).await;
            Lateness::of(start.elapsed(), duration)
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Lateness {
    Early,
    By(Duration),
}

impl Lateness {
    fn of(slept: Duration, asked: Duration) -> Lateness {
        slept.checked_sub(asked).map_or(Lateness::Early, Lateness::By)
    }

    fn microseconds(self) -> f64 {
        match self {
            Lateness::Early => f64::NAN,
            Lateness::By(late) => late.as_nanos() as f64 / 1000.0,
        }
    }
}

fn lateness(duration: Duration, sleep: impl FnOnce()) -> Lateness {
    let start = Instant::now();
    sleep();
    Lateness::of(start.elapsed(), duration)
}

/// Runs `f` while a thread of the lowest priority keeps each processor busy.
fn while_awake(f: impl FnOnce()) -> Outcome<()> {
    /// Also when it unwinds.
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let guard = Over(&over);
        let spinners: Vec<_> = (0..thread::available_parallelism()?.get())
            .map(|_processor| {
                scope.spawn(|| {
                    let lowest = libc::sched_param { sched_priority: 0 };
                    // SAFETY: reads the parameter, during the call; 0 is the calling thread.
                    if unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const lowest) } == -1 {
                        return Err(std::io::Error::last_os_error());
                    }
                    while !over.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                    Ok(())
                })
            })
            .collect();
        f();
        drop(guard);
        for spinner in spinners {
            spinner.join().map_err(|_panic| "a spinning thread panicked")??;
        }
        Ok(())
    })
}

fn main() -> Outcome<()> {
    let check = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--check") => true,
        Some(other) => return Err(format!("there is no option {other}").into()),
    };
    let contestants = Contestants {
        bare: Bare::new()?,
        bourn: bourn::Runtime::new()?,
        tokio: tokio::runtime::Builder::new_current_thread().enable_time().build()?,
    };
    let mut broken = Vec::new();
    println!("median lateness in us (middle half) | {}", NAMES.join(" | "));
    for (duration, rounds) in [
        (Duration::from_micros(100), 2000),
        (Duration::from_millis(1), 500),
        (Duration::from_millis(30), 30),
        (Duration::from_secs(10), 1),
    ] {
        let mut late: [Vec<Lateness>; 3] = Default::default();
        for _ in 0..rounds {
            for (all, one) in late.iter_mut().zip(contestants.round(duration)) {
                all.push(one);
            }
        }
        let mut line = format!("{duration:?}");
        for (name, all) in NAMES.iter().zip(&mut late) {
            all.sort();
            let at = |part: usize| all[(all.len() - 1) * part / 4].microseconds();
            line += &format!(" | {:.1} ({:.1} to {:.1})", at(2), at(1), at(3));
            if *name == "bourn" && all[0] == Lateness::Early {
                broken.push(format!("{duration:?} was early"));
            }
        }
        println!("{line}");
    }
    if check {
        let long = Duration::from_secs(10);
        let mut late = Vec::new();
        let is_late = |one: &Lateness| *one >= Lateness::By(long / 2_000);
        while_awake(|| {
            while late.len() < 3 && late.iter().all(is_late) {
                late.push(contestants.bourn(long));
            }
        })?;
        let shown: Vec<f64> = late.iter().map(|one| one.microseconds()).collect();
        println!("{long:?}, with processors that do not halt | {shown:.1?}");
        if late.contains(&Lateness::Early) {
            broken.push(format!("{long:?} were early"));
        }
        if late.iter().all(is_late) {
            broken.push(format!("{long:?} were late by more than 0.05 %"));
        }
    }
    if check && !broken.is_empty() {
        return Err(format!("not kept: {}", broken.join(", ")).into());
    }
    Ok(())
}
