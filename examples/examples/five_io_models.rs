//! One task in five forms: blocking, nonblocking, multiplexed, signal-driven, asynchronous.
//!
//! The task: answer each message with the same message. A process for each form; this one sends a message every
//! millisecond and measures. Rows 38 to 43 of the sockets checklist. (System calls are counted by strace.)

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use bourn_examples::picture::{self, Panel};
use bourn_reactor::{Backend, Interest, Poller};

const FORMS: [&str; 5] = ["blocking", "nonblocking (spins)", "multiplexed (poll)", "signal-driven", "asynchronous"];

fn main() -> picture::Result<()> {
    if let [form, address] = &env::args().skip(1).collect::<Vec<_>>()[..] {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        match form.as_str() {
            "blocking" => blocking(&stream)?,
            "nonblocking (spins)" => spin(&stream)?,
            "multiplexed (poll)" => multiplexed(&stream)?,
            "signal-driven" => signal_driven(&stream)?,
            _ => asynchronous(stream)?,
        }
        return Ok(());
    }
    let mut panels = ["system calls", "voluntary context switches", "CPU time (us)", "median time to answer (us)"]
        .map(|measure| Panel { title: format!("{measure}, for each message"), bars: Vec::new() });
    println!("   for each message:       calls  switches  CPU (us)  answer (us)");
    for (step, form) in FORMS.into_iter().enumerate() {
        // The first message finds the process still starting: differences leave that out.
        let run = drive(form, 200, false)?;
        let calls = (drive(form, 120, true)?.calls - drive(form, 20, true)?.calls) / 100.0;
        let values = [calls, run.switches, run.cpu, run.answer];
        let [_, switches, cpu, answer] = values;
        println!("{}. {form:<20} {calls:>8.1} {switches:>9.2} {cpu:>9.1} {answer:>12.1}", step + 1);
        for (panel, value) in panels.iter_mut().zip(values) {
            panel.bars.push((form.to_string(), value));
        }
    }
    picture::bars(
        "five_io_models",
        "One echo, five forms of I/O: what a message costs, one each millisecond",
        &panels,
    )?;

    let value = |panel: usize, form: usize| panels[panel].bars[form].1;
    assert!((1.9..2.1).contains(&value(0, 0)), "blocking: recv and send, and nothing else");
    for form in [0, 2, 3, 4] {
        assert!(value(0, 1) > 3.0 * value(0, form), "asking is the dearest in calls: {}", FORMS[form]);
        assert!(value(2, 1) > 3.0 * value(2, form), "and in processor time: {}", FORMS[form]);
        assert!(value(1, form) > 0.5, "{} sleeps between messages", FORMS[form]);
    }
    println!(
        "6. holds: whoever waits in the kernel sleeps, whoever asks burns; the forms differ in who keeps the list"
    );
    println!(
        "   (asynchronous: your code is resumed with the data in its buffer. bourn waits in epoll beneath; a kernel"
    );
    println!("   that itself fills your buffer, like io_uring, is the pure form.)");
    Ok(())
}

struct Run {
    calls: f64,
    switches: f64,
    cpu: f64,
    answer: f64,
}

/// Sends `count` messages, one each millisecond, to a process of that form.
fn drive(form: &str, count: u32, traced: bool) -> io::Result<Run> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let log = env::temp_dir().join(format!("bourn-five-io-models-{}", std::process::id()));
    let mut command = Command::new(if traced { "strace".into() } else { env::current_exe()? });
    if traced {
        command.args(["-f", "-c", "-U", "calls,name", "-o"]).arg(&log).arg(env::current_exe()?);
    }
    let mut child: Child = command
        .args([form, &listener.local_addr()?.to_string()])
        .stdin(Stdio::null())
        .spawn()
        .map_err(|error| io::Error::other(format!("cannot start {command:?}: {error} (strace is needed)")))?;
    let (mut stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut message = *b"a message";
    let mut answers = Vec::new();
    let mut begin = (0.0, 0.0);
    for number in 0..=count {
        let sent = Instant::now();
        stream.write_all(&message)?;
        stream.read_exact(&mut message)?;
        answers.push(sent.elapsed().as_secs_f64() * 1e6);
        if number == 0 {
            begin = usage(child.id())?;
            answers.clear();
        }
        thread::sleep(Duration::from_millis(1));
    }
    let end = usage(child.id())?;
    drop(stream); // the other process reads the end, and ends
    assert!(child.wait()?.success());
    let trace = if traced { fs::read_to_string(&log)? } else { "0 total".into() };
    let calls = trace.lines().find_map(|line| line.trim().strip_suffix("total")).expect("a total").trim();
    answers.sort_by(f64::total_cmp);
    Ok(Run {
        calls: calls.parse().map_err(io::Error::other)?,
        switches: (end.0 - begin.0) / f64::from(count),
        cpu: (end.1 - begin.1) / f64::from(count),
        answer: answers[answers.len() / 2],
    })
}

/// Voluntary switches and microseconds of CPU of a process with one thread.
fn usage(process: u32) -> io::Result<(f64, f64)> {
    let number = |text: &str| text.trim().parse::<f64>().map_err(io::Error::other);
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let switches = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).expect("a count");
    let schedstat = fs::read_to_string(format!("/proc/{process}/schedstat"))?;
    Ok((number(switches)?, number(schedstat.split(' ').next().expect("a time"))? / 1e3))
}

fn blocking(mut stream: &TcpStream) -> io::Result<()> {
    let mut buf = [0; 64];
    while let length @ 1.. = stream.read(&mut buf)? {
        stream.write_all(&buf[..length])?;
    }
    Ok(())
}

/// Answers what is there; `WouldBlock` when nothing is.
fn answer(mut stream: &TcpStream) -> io::Result<bool> {
    let mut buf = [0; 64];
    let length = stream.read(&mut buf)?;
    stream.write_all(&buf[..length])?;
    Ok(length == 0)
}

/// Goes on until the end of the stream, with `wait` whenever there is nothing to do.
fn until_end(stream: &TcpStream, mut wait: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    loop {
        match answer(stream) {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => wait()?,
            Err(error) => return Err(error),
        }
    }
}

fn spin(stream: &TcpStream) -> io::Result<()> {
    until_end(stream, || Ok(()))
}

fn multiplexed(stream: &TcpStream) -> io::Result<()> {
    let poller = Poller::with_backend(Backend::Poll)?;
    poller.add(stream, 0)?;
    let mut events = Vec::new();
    until_end(stream, || {
        events.clear();
        poller.rearm(0, Interest::READ);
        poller.wait(&mut events, None)
    })
}

fn signal_driven(stream: &TcpStream) -> io::Result<()> {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: it fills the set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: the set has been filled just now.
    let mut set = unsafe { set.assume_init() };
    // SAFETY: the set is valid.
    unsafe { libc::sigaddset(&mut set, libc::SIGIO) };
    // Blocked, so that it waits for sigwait instead of killing us.
    // SAFETY: the set is valid, and the old one is not asked for.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) };
    // SAFETY: the descriptor is open; the signals go to this process.
    unsafe { libc::fcntl(stream.as_raw_fd(), libc::F_SETOWN, std::process::id()) };
    // SAFETY: as above.
    unsafe { libc::fcntl(stream.as_raw_fd(), libc::F_SETFL, libc::O_ASYNC | libc::O_NONBLOCK | libc::O_RDWR) };
    until_end(stream, || {
        let mut signal = 0;
        // SAFETY: both are valid. A signal that came since the last EAGAIN is still pending: no wake-up is lost.
        unsafe { libc::sigwait(&set, &mut signal) };
        Ok(())
    })
}

fn asynchronous(stream: TcpStream) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    bourn::block_on(async {
        let stream = bourn::net::TcpStream::from_std(stream)?;
        let mut buf = [0; 64];
        while let length @ 1.. = stream.read(&mut buf).await? {
            stream.write_all(&buf[..length]).await?;
        }
        Ok(())
    })
}
