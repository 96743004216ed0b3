//! The readiness contract (see the head of the crate), through the public
//! [`Poller`], on every backend.

mod harness;

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use bourn_reactor::{Backend, Event, Interest, Poller, Ready};
use harness::{SOON, alone, drain, fill, tcp_pair, unix_pair};

harness::on_every_backend! {
    what_is_pending_when_added_is_reported,
    what_is_pending_when_added_is_reported_into_a_wait_under_way,
    a_direction_is_reported_after_each_would_block,
    what_comes_between_would_block_and_rearm_is_not_lost,
    what_comes_before_the_drain_ends_is_not_owed_twice,
    room_to_write_is_reported,
    a_fin_closes_reading_alone,
    a_reset_closes_both_ways,
    a_peer_that_is_gone_is_a_hang_up_and_no_spin,
    a_pipe_without_reader_is_an_error_for_writing,
    the_end_is_reported_behind_unread_data,
    urgent_data_is_a_priority_and_no_spin,
    a_notification_ends_the_next_wait,
    a_notification_ends_the_wait_under_way,
    a_wait_is_never_short,
    a_signal_does_not_shorten_a_wait,
    what_was_removed_is_not_reported,
    a_socket_closed_behind_the_back_harms_nobody,
    a_socket_closed_behind_the_back_of_a_wait_harms_nobody,
    an_error_that_lives_on_does_not_spin,
    a_fifo_is_read_again_when_its_writer_comes_back,
    only_select_ends_at_its_last_descriptor,
    a_second_waiter_is_told_that_it_is_one,
    changes_race_with_waits,
    a_thousand_descriptors_are_each_reported_once,
    what_can_not_be_added_says_so,
}

const KEY: u64 = 7;

fn poller(backend: Backend) -> Arc<Poller> {
    let poller = Poller::with_backend(backend).unwrap();
    assert_eq!(poller.backend(), backend);
    Arc::new(poller)
}

/// Waits until `key` is reported as `wanted`; gives everything reported of it.
#[track_caller]
fn expect(poller: &Poller, key: u64, wanted: fn(Ready) -> bool) -> Ready {
    let deadline = Instant::now() + SOON;
    let mut all = Vec::new();
    loop {
        let mut events = Vec::new();
        poller.wait(&mut events, Some(deadline.saturating_duration_since(Instant::now()))).unwrap();
        all.extend(events.iter().copied());
        if let Some(event) = events.iter().find(|event| event.key == key && wanted(event.ready)) {
            return event.ready;
        }
        assert!(Instant::now() < deadline, "reported was only {all:?}");
    }
}

/// Everything that waits of 100 ms together report, and how many waits that took.
/// They must sleep meanwhile, and not go round inside.
#[track_caller]
fn listen(poller: &Poller) -> (Vec<Event>, usize) {
    let span = Duration::from_millis(100);
    let deadline = Instant::now() + span;
    let before = harness::processor_time();
    let mut events = Vec::new();
    let mut waits = 0;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        poller.wait(&mut events, Some(left)).unwrap();
        waits += 1;
    }
    let used = harness::processor_time() - before;
    assert!(used < span / 5, "{used:?} of processor time in {waits} waits of {span:?}");
    (events, waits)
}

/// A thread that waits once, for as long as it takes; returns when it sleeps.
fn wait_elsewhere(poller: &Arc<Poller>) -> thread::JoinHandle<Vec<Event>> {
    let (told, id) = mpsc::channel();
    let poller = Arc::clone(poller);
    let waiter = thread::spawn(move || {
        told.send(harness::thread_id()).unwrap();
        let mut events = Vec::new();
        poller.wait(&mut events, None).unwrap();
        events
    });
    harness::until_asleep(id.recv().unwrap());
    waiter
}

/// A pair, its near end added, with nothing left to report but what comes.
fn quiet_pair(poller: &Poller) -> (UnixStream, UnixStream) {
    let (near, far) = unix_pair();
    poller.add(&near, KEY).unwrap();
    expect(poller, KEY, Ready::is_writable);
    assert_eq!(drain(&near), 0);
    poller.rearm(KEY, Interest::READ);
    (near, far)
}

fn what_is_pending_when_added_is_reported(backend: Backend) {
    let poller = poller(backend);
    let (near, mut far) = unix_pair();
    far.write_all(b"here before").unwrap();
    poller.add(&near, KEY).unwrap();
    let ready = expect(&poller, KEY, Ready::is_readable);
    assert!(ready.is_writable(), "{ready:?}");
    assert!(!ready.is_read_closed(), "{ready:?}");
    assert!(!ready.is_error(), "{ready:?}");
    poller.remove(&near, KEY).unwrap();
}

fn what_is_pending_when_added_is_reported_into_a_wait_under_way(backend: Backend) {
    let poller = poller(backend);
    let waiter = wait_elsewhere(&poller);
    let (near, mut far) = unix_pair();
    far.write_all(b"here before").unwrap();
    poller.add(&near, KEY).unwrap();
    let events = waiter.join().unwrap();
    if poller.is_edge_triggered() {
        assert_eq!(events.len(), 1, "{events:?}");
        assert!(events[0].ready.is_readable(), "{events:?}");
    } else if events.is_empty() {
        // The change itself may end a level-triggered wait.
        expect(&poller, KEY, Ready::is_readable);
    }
    poller.remove(&near, KEY).unwrap();
}

fn a_direction_is_reported_after_each_would_block(backend: Backend) {
    let poller = poller(backend);
    let (near, mut far) = quiet_pair(&poller);
    for _ in 0..200 {
        far.write_all(b"again").unwrap();
        expect(&poller, KEY, Ready::is_readable);
        assert_eq!(drain(&near), 5);
        poller.rearm(KEY, Interest::READ);
    }
    poller.remove(&near, KEY).unwrap();
}

fn what_comes_between_would_block_and_rearm_is_not_lost(backend: Backend) {
    let poller = poller(backend);
    let (near, mut far) = quiet_pair(&poller);
    for _ in 0..200 {
        far.write_all(b"one").unwrap();
        expect(&poller, KEY, Ready::is_readable);
        assert_eq!(drain(&near), 3);
        far.write_all(b"two").unwrap();
        poller.rearm(KEY, Interest::READ);
        expect(&poller, KEY, Ready::is_readable);
        assert_eq!(drain(&near), 3);
        poller.rearm(KEY, Interest::READ);
    }
    poller.remove(&near, KEY).unwrap();
}

/// Unread data ends no second wait, or a reader that is slow would make a spin.
fn what_comes_before_the_drain_ends_is_not_owed_twice(backend: Backend) {
    let poller = poller(backend);
    let (near, mut far) = quiet_pair(&poller);
    far.write_all(b"unread").unwrap();
    expect(&poller, KEY, Ready::is_readable);
    let (events, waits) = listen(&poller);
    assert!(events.is_empty(), "{events:?}");
    assert!(waits <= 3, "{waits} waits");
    poller.remove(&near, KEY).unwrap();
}

fn room_to_write_is_reported(backend: Backend) {
    let poller = poller(backend);
    let (near, far) = quiet_pair(&poller);
    for _ in 0..20 {
        let filled = fill(&near);
        assert!(filled > 0);
        poller.rearm(KEY, Interest::WRITE);
        assert_eq!(drain(&far), filled);
        expect(&poller, KEY, Ready::is_writable);
    }
    poller.remove(&near, KEY).unwrap();
}

fn a_fin_closes_reading_alone(backend: Backend) {
    let poller = poller(backend);
    let (near, far) = tcp_pair();
    poller.add(&near, KEY).unwrap();
    expect(&poller, KEY, Ready::is_writable);
    assert_eq!(drain(&near), 0);
    poller.rearm(KEY, Interest::READ);
    far.shutdown(Shutdown::Write).unwrap();
    let ready = expect(&poller, KEY, Ready::is_read_closed);
    assert!(ready.is_readable(), "{ready:?}");
    assert!(!ready.is_write_closed(), "{ready:?}");
    assert_eq!((&near).read(&mut [0]).unwrap(), 0);
    poller.remove(&near, KEY).unwrap();
}

fn a_reset_closes_both_ways(backend: Backend) {
    let poller = poller(backend);
    let (near, far) = tcp_pair();
    poller.add(&near, KEY).unwrap();
    expect(&poller, KEY, Ready::is_writable);
    assert_eq!(drain(&near), 0);
    poller.rearm(KEY, Interest::READ);
    harness::reset(far);
    let ready = expect(&poller, KEY, Ready::is_read_closed);
    assert!(ready.is_write_closed(), "{ready:?}");
    assert!(ready.is_error(), "{ready:?}");
    let error = (&near).read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    poller.remove(&near, KEY).unwrap();
}

fn a_peer_that_is_gone_is_a_hang_up_and_no_spin(backend: Backend) {
    let poller = poller(backend);
    let (near, far) = quiet_pair(&poller);
    drop(far);
    let ready = expect(&poller, KEY, Ready::is_read_closed);
    assert!(ready.is_write_closed(), "{ready:?}");
    // A hang-up can not be masked: the descriptor has to leave the kernel's list.
    let (events, waits) = listen(&poller);
    assert!(events.is_empty(), "{events:?}");
    assert!(waits <= 3, "{waits} waits");
    poller.remove(&near, KEY).unwrap();
}

fn a_pipe_without_reader_is_an_error_for_writing(backend: Backend) {
    let poller = poller(backend);
    let (reader, writer) = io::pipe().unwrap();
    poller.add(&writer, KEY).unwrap();
    expect(&poller, KEY, Ready::is_writable);
    poller.rearm(KEY, Interest::WRITE);
    drop(reader);
    expect(&poller, KEY, |ready| ready.is_error() || ready.is_write_closed());
    let (_, waits) = listen(&poller);
    assert!(waits <= 3, "{waits} waits");
    poller.remove(&writer, KEY).unwrap();
}

fn the_end_is_reported_behind_unread_data(backend: Backend) {
    let poller = poller(backend);
    let (near, mut far) = quiet_pair(&poller);
    far.write_all(b"unread").unwrap();
    let ready = expect(&poller, KEY, Ready::is_readable);
    assert!(!ready.is_read_closed(), "{ready:?}");
    poller.rearm(KEY, Interest::CLOSED);
    let (events, waits) = listen(&poller);
    assert!(events.is_empty(), "{events:?}");
    assert!(waits <= 3, "{waits} waits");
    far.shutdown(Shutdown::Write).unwrap();
    expect(&poller, KEY, Ready::is_read_closed);
    let mut unread = [0; 16];
    assert_eq!((&near).read(&mut unread).unwrap(), 6);
    poller.remove(&near, KEY).unwrap();
}

fn urgent_data_is_a_priority_and_no_spin(backend: Backend) {
    let poller = poller(backend);
    let (near, mut far) = tcp_pair();
    poller.add(&near, KEY).unwrap();
    expect(&poller, KEY, Ready::is_writable);
    assert_eq!(drain(&near), 0);
    poller.rearm(KEY, Interest::READ);
    // SAFETY: the one byte is readable and lives through the call.
    let sent = unsafe { libc::send(far.as_raw_fd(), b"!".as_ptr().cast(), 1, libc::MSG_OOB) };
    assert_eq!(sent, 1);
    expect(&poller, KEY, Ready::is_priority);
    let (events, waits) = listen(&poller);
    assert!(events.is_empty(), "{events:?}");
    assert!(waits <= 3, "{waits} waits");
    far.write_all(b"in band").unwrap();
    poller.rearm(KEY, Interest::READ);
    expect(&poller, KEY, Ready::is_readable);
    let mut bytes = [0; 16];
    assert_eq!((&near).read(&mut bytes).unwrap(), 7);
    poller.remove(&near, KEY).unwrap();
}

fn a_notification_ends_the_next_wait(backend: Backend) {
    let poller = poller(backend);
    let mut events = Vec::new();
    for _ in 0..3 {
        poller.notify().unwrap();
        poller.notify().unwrap();
        // One that does not block leaves it to the next one.
        poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
        poller.wait(&mut events, None).unwrap();
        assert!(events.is_empty(), "{events:?}");
        // And it is used up.
        let start = Instant::now();
        poller.wait(&mut events, Some(Duration::from_millis(2))).unwrap();
        assert!(start.elapsed() >= Duration::from_millis(2));
    }
}

fn a_notification_ends_the_wait_under_way(backend: Backend) {
    let poller = poller(backend);
    for _ in 0..100 {
        let waiter = wait_elsewhere(&poller);
        poller.notify().unwrap();
        assert!(waiter.join().unwrap().is_empty());
    }
    let start = Instant::now();
    let mut events = Vec::new();
    poller.wait(&mut events, Some(Duration::from_millis(2))).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(2), "a notification was left over");
}

fn a_wait_is_never_short(backend: Backend) {
    let poller = poller(backend);
    let mut events = Vec::new();
    for microseconds in [0, 1, 50, 400, 999, 1_000, 1_001, 3_700, 19_999, 20_001, 45_000] {
        let timeout = Duration::from_micros(microseconds);
        let start = Instant::now();
        poller.wait(&mut events, Some(timeout)).unwrap();
        assert!(start.elapsed() >= timeout, "{:?} of {timeout:?}", start.elapsed());
    }
    assert!(events.is_empty(), "{events:?}");
}

fn a_signal_does_not_shorten_a_wait(backend: Backend) {
    alone(backend, "a_signal_does_not_shorten_a_wait", || {
        static INTERRUPTIONS: AtomicUsize = AtomicUsize::new(0);
        extern "C" fn count(_signal: libc::c_int) {
            INTERRUPTIONS.fetch_add(1, Ordering::Relaxed);
        }
        let handler: extern "C" fn(libc::c_int) = count;
        // SAFETY: the handler is async-signal-safe, one atomic add.
        let before = unsafe { libc::signal(libc::SIGUSR1, handler as libc::sighandler_t) };
        assert_ne!(before, libc::SIG_ERR);

        let poller = poller(backend);
        let over = Arc::new(AtomicBool::new(false));
        // SAFETY: takes no argument.
        let waiter = unsafe { libc::pthread_self() };
        let id = harness::thread_id();
        let interrupter = thread::spawn({
            let over = Arc::clone(&over);
            move || {
                while !over.load(Ordering::Relaxed) {
                    harness::until_asleep(id);
                    // SAFETY: the thread joins this one before it ends.
                    let sent = unsafe { libc::pthread_kill(waiter, libc::SIGUSR1) };
                    assert_eq!(sent, 0);
                }
            }
        });
        let timeout = Duration::from_millis(60);
        let start = Instant::now();
        let mut events = Vec::new();
        poller.wait(&mut events, Some(timeout)).unwrap();
        let took = start.elapsed();
        over.store(true, Ordering::Relaxed);
        interrupter.join().unwrap();
        assert!(took >= timeout, "{took:?}");
        assert!(took < SOON, "each signal began the wait anew");
        assert!(events.is_empty(), "{events:?}");
        let interruptions = INTERRUPTIONS.load(Ordering::Relaxed);
        assert!(interruptions >= 3, "only {interruptions} signals came");
    });
}

fn what_was_removed_is_not_reported(backend: Backend) {
    let poller = poller(backend);
    let (near, mut far) = quiet_pair(&poller);
    // The rearm is applied by this wait at the latest.
    listen(&poller);
    let waiter = wait_elsewhere(&poller);
    poller.remove(&near, KEY).unwrap();
    // For an edge-triggered wait, the removal is nothing to wake up for.
    poller.notify().unwrap();
    assert!(waiter.join().unwrap().is_empty());
    far.write_all(b"too late").unwrap();
    poller.rearm(KEY, Interest::READ);
    let (events, _) = listen(&poller);
    assert!(events.is_empty(), "{events:?}");
}

/// In a process of its own: the number of the closed descriptor must stay free.
fn a_socket_closed_behind_the_back_harms_nobody(backend: Backend) {
    alone(backend, "a_socket_closed_behind_the_back_harms_nobody", || {
        let poller = poller(backend);
        let (near, mut far) = quiet_pair(&poller);
        let (lost, _its_peer) = unix_pair();
        poller.add(&lost, 8).unwrap();
        expect(&poller, 8, Ready::is_writable);
        poller.rearm(8, Interest::READ);
        listen(&poller);
        drop(lost);
        let (events, waits) = listen(&poller);
        assert!(waits <= 4, "{waits} waits reported {events:?}");
        far.write_all(b"still here").unwrap();
        expect(&poller, KEY, Ready::is_readable);
        poller.remove(&near, KEY).unwrap();
    });
}

fn a_socket_closed_behind_the_back_of_a_wait_harms_nobody(backend: Backend) {
    alone(backend, "a_socket_closed_behind_the_back_of_a_wait_harms_nobody", || {
        let poller = poller(backend);
        let (near, mut far) = quiet_pair(&poller);
        let (lost, its_peer) = unix_pair();
        poller.add(&lost, 8).unwrap();
        expect(&poller, 8, Ready::is_writable);
        poller.rearm(8, Interest::READ);
        listen(&poller);
        let waiter = wait_elsewhere(&poller);
        drop(lost);
        drop(its_peer);
        poller.notify().unwrap();
        // What the others have to say comes through whatever the wait made of it.
        waiter.join().unwrap();
        let (events, waits) = listen(&poller);
        assert!(waits <= 4, "{waits} waits reported {events:?}");
        far.write_all(b"still here").unwrap();
        expect(&poller, KEY, Ready::is_readable);
        poller.remove(&near, KEY).unwrap();
    });
}

/// Transmit timestamps fill the error queue, which raises ERR, while the full
/// send buffer keeps the writer waiting.
fn an_error_that_lives_on_does_not_spin(backend: Backend) {
    let poller = poller(backend);
    let (near, far) = tcp_pair();
    let what = libc::SOF_TIMESTAMPING_TX_SOFTWARE | libc::SOF_TIMESTAMPING_SOFTWARE | libc::SOF_TIMESTAMPING_OPT_TSONLY;
    harness::set_option(&near, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, what as libc::c_int);
    poller.add(&near, KEY).unwrap();
    fill(&near);
    poller.rearm(KEY, Interest::READ);
    poller.rearm(KEY, Interest::WRITE);

    let span = Duration::from_millis(600);
    let deadline = Instant::now() + span;
    let before = harness::processor_time();
    let mut errors = 0;
    let mut events = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        events.clear();
        poller.wait(&mut events, Some(left)).unwrap();
        for event in &events {
            errors += usize::from(event.ready.is_error());
            if (&near).write(b"more").is_err() {
                poller.rearm(KEY, Interest::WRITE);
            }
            if (&near).read(&mut [0]).is_err() {
                poller.rearm(KEY, Interest::READ);
            }
        }
    }
    let used = harness::processor_time() - before;
    assert!(errors > 0, "no transmit timestamp came, so nothing was shown");
    assert!(used < span / 20, "{used:?} of processor time in {span:?}, {errors} errors reported");

    // And room is seen through the error.
    let mut emptied = 0;
    let deadline = Instant::now() + SOON;
    while (&near).write(b"more").is_err() {
        assert!(Instant::now() < deadline, "no room after {emptied} bytes were read");
        emptied += drain(&far);
        poller.rearm(KEY, Interest::WRITE);
        events.clear();
        poller.wait(&mut events, Some(Duration::from_millis(200))).unwrap();
    }
    poller.remove(&near, KEY).unwrap();
}

fn a_fifo_is_read_again_when_its_writer_comes_back(backend: Backend) {
    let path = std::env::temp_dir().join(format!("bourn-fifo-{}-{backend}", std::process::id()));
    let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: `name` is a string that lives through the call.
    let made = unsafe { libc::mkfifo(name.as_ptr(), 0o600) };
    assert_eq!(made, 0, "{}", io::Error::last_os_error());
    let mut options = OpenOptions::new();
    let reader: File = options.read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
    let open_writer = || OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&path);

    let poller = poller(backend);
    let mut writer = open_writer().unwrap();
    poller.add(&reader, KEY).unwrap();
    for _ in 0..5 {
        assert_eq!(drain(&reader), 0);
        poller.rearm(KEY, Interest::READ);
        writer.write_all(b"some").unwrap();
        expect(&poller, KEY, Ready::is_readable);
        assert_eq!(drain(&reader), 4);
        poller.rearm(KEY, Interest::READ);
        drop(writer);
        expect(&poller, KEY, Ready::is_read_closed);
        assert_eq!((&reader).read(&mut [0]).unwrap(), 0);
        writer = open_writer().unwrap();
    }
    poller.remove(&reader, KEY).unwrap();
    std::fs::remove_file(&path).unwrap();
}

fn only_select_ends_at_its_last_descriptor(backend: Backend) {
    alone(backend, "only_select_ends_at_its_last_descriptor", || {
        harness::allow_descriptors(1_200);
        let poller = poller(backend);
        let (near, mut far) = unix_pair();
        let high = |lowest| harness::duplicate_above(&near, lowest);
        let (next_to_last, last, beyond, far_beyond) = (high(1_022), high(1_023), high(1_024), high(1_100));
        let number = |fd: &OwnedFd| fd.as_raw_fd();
        assert_eq!([&next_to_last, &last, &beyond, &far_beyond].map(number), [1_022, 1_023, 1_024, 1_100]);

        far.write_all(b"up here").unwrap();
        for (key, fd) in [(22, &next_to_last), (23, &last)] {
            poller.add(fd, key).unwrap();
            expect(&poller, key, Ready::is_readable);
            poller.remove(fd, key).unwrap();
        }
        for fd in [beyond, far_beyond] {
            let added = poller.add(&fd, 24);
            if backend == Backend::Select {
                let error = added.unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::Unsupported);
                let message = error.to_string();
                assert!(message.contains(&number(&fd).to_string()), "{message}");
                assert!(message.contains("below 1024 (FD_SETSIZE)"), "{message}");
                let (events, _) = listen(&poller);
                assert!(events.is_empty(), "{events:?}");
            } else {
                added.unwrap();
                expect(&poller, 24, Ready::is_readable);
                poller.remove(&fd, 24).unwrap();
            }
        }

        // The poller's own descriptor must fit, too.
        let mut below = Vec::new();
        loop {
            let fd = harness::duplicate_above(&near, 0);
            if number(&fd) >= 1_024 {
                break;
            }
            below.push(fd);
        }
        let made = Poller::with_backend(backend);
        if backend == Backend::Select {
            assert_eq!(made.unwrap_err().kind(), io::ErrorKind::Unsupported);
        } else {
            drop(made.unwrap());
        }
    });
}

fn a_second_waiter_is_told_that_it_is_one(backend: Backend) {
    let poller = poller(backend);
    let waiter = wait_elsewhere(&poller);
    for timeout in [None, Some(Duration::ZERO), Some(Duration::from_secs(1))] {
        let error = poller.wait(&mut Vec::new(), timeout).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
    }
    poller.notify().unwrap();
    waiter.join().unwrap();
    poller.wait(&mut Vec::new(), Some(Duration::ZERO)).unwrap();
}

fn changes_race_with_waits(backend: Backend) {
    const CHANGERS: u64 = 3;
    const CYCLES: u64 = 600;
    let poller = poller(backend);
    let over = Arc::new(AtomicBool::new(false));
    let waiter = thread::spawn({
        let poller = Arc::clone(&poller);
        let over = Arc::clone(&over);
        move || {
            let mut events = Vec::new();
            while !over.load(Ordering::Acquire) {
                events.clear();
                poller.wait(&mut events, None).unwrap();
            }
        }
    });
    let changers: Vec<_> = (0..CHANGERS)
        .map(|changer| {
            let poller = Arc::clone(&poller);
            thread::spawn(move || {
                for cycle in 0..CYCLES {
                    let key = cycle * CHANGERS + changer;
                    let (near, mut far) = unix_pair();
                    poller.add(&near, key).unwrap();
                    far.write_all(b"x").unwrap();
                    assert_eq!(drain(&near), 1);
                    poller.rearm(key, Interest::READ);
                    far.write_all(b"x").unwrap();
                    poller.notify().unwrap();
                    poller.remove(&near, key).unwrap();
                }
            })
        })
        .collect();
    for changer in changers {
        changer.join().unwrap();
    }
    over.store(true, Ordering::Release);
    poller.notify().unwrap();
    waiter.join().unwrap();

    let (near, mut far) = quiet_pair(&poller);
    far.write_all(b"after the storm").unwrap();
    expect(&poller, KEY, Ready::is_readable);
    poller.remove(&near, KEY).unwrap();
}

fn a_thousand_descriptors_are_each_reported_once(backend: Backend) {
    alone(backend, "a_thousand_descriptors_are_each_reported_once", || {
        harness::allow_descriptors(2_100);
        let poller = poller(backend);
        // As many as fit below select's limit, with their peers.
        let count = if backend == Backend::Select { 480 } else { 1_000 };
        let pairs: Vec<_> = (0..count).map(|_| unix_pair()).collect();
        for ((near, far), key) in pairs.iter().zip(0..) {
            { far }.write_all(b"x").unwrap();
            poller.add(near, key).unwrap();
        }
        let mut events = Vec::new();
        let deadline = Instant::now() + SOON;
        while events.len() < count && Instant::now() < deadline {
            poller.wait(&mut events, Some(Duration::from_millis(100))).unwrap();
        }
        poller.wait(&mut events, Some(Duration::from_millis(20))).unwrap();
        let mut keys: Vec<_> = events.iter().map(|event| event.key).collect();
        keys.sort_unstable();
        assert!(keys.iter().copied().eq(0..count as u64), "{keys:?}");
        assert!(events.iter().all(|event| event.ready.is_readable()));
    });
}

fn what_can_not_be_added_says_so(backend: Backend) {
    let poller = poller(backend);
    let (near, _far) = unix_pair();
    let error = poller.add(&near, u64::MAX).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    let file = File::open(std::env::current_exe().unwrap()).unwrap();
    if poller.is_edge_triggered() {
        let error = poller.add(&file, KEY).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
        let error = poller.remove(&near, KEY).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
        poller.add(&near, KEY).unwrap();
        let error = poller.add(&near, KEY).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EEXIST));
    } else {
        poller.add(&file, KEY).unwrap();
        expect(&poller, KEY, Ready::is_readable);
    }
}
