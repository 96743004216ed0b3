//! One task in five forms: blocking, nonblocking, multiplexed, signal-driven, asynchronous.
//!
//! Asynchronous means that your code is resumed with the data in its buffer. bourn waits in epoll beneath; a kernel that
//! itself fills your buffer, like io_uring's, is the pure form.
//!
//! The task: answer each message with the same message. A process for each form; this one sends a message every
//! millisecond and measures. System calls are counted by strace, which slows them down: alone, the form that spins makes
//! many more of them. All threads count: with bourn also the one that watches whether the first gets on.
//! Rows 38 to 43 of the sockets checklist.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, Instant};

use bourn_examples::picture::{self, Panel};
use bourn_examples::process::{self, Server};

type Form = fn(TcpStream) -> io::Result<()>;
const FORMS: [(&str, Form); 5] = [
    ("blocking", blocking),
    ("nonblocking (spins)", spin),
    ("multiplexed (poll)", multiplexed),
    ("signal-driven", signal_driven),
    ("asynchronous", asynchronous),
];

fn main() -> picture::Result<()> {
    if let Some((form, listener)) = process::asked_to_serve()? {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        let (_, answer_all) = FORMS.into_iter().find(|(name, _)| *name == form).expect("a form");
        return Ok(answer_all(stream)?);
    }
    if !process::can_count_calls() {
        println!(
            "   strace is missing, and nothing else tells all system calls: nothing is measured (apt install strace)"
        );
        return Ok(());
    }
    let mut panels = measure()?;
    // Who asks is as dear as the processor lets it be: where that is busy with others, it is measured again.
    for _ in 0..4 {
        let Err(disturbed) = holds(&panels) else { break };
        println!("   once more: {disturbed}");
        panels = measure()?;
    }
    let title = "One echo, five forms of I/O: what a message costs, one each millisecond";
    picture::bars("five_io_models", title, &panels)?;
    holds(&panels)?;
    println!("6. holds: who waits in the kernel sleeps, who asks burns; the forms differ in who keeps the list");
    Ok(())
}

/// Measures all forms.
fn measure() -> io::Result<[Panel; 4]> {
    let mut panels = ["system calls", "voluntary context switches", "CPU time (us)", "median time to answer (us)"]
        .map(|measure| Panel { title: format!("{measure}, for each message"), bars: Vec::new() });
    println!("   for each message:       calls  switches  CPU (us)  answer (us)");
    for (step, (form, _)) in FORMS.into_iter().enumerate() {
        // The first message finds the process still starting: differences leave that out.
        let calls = |messages| process::calls(form, |server| drive(server, messages).map(drop));
        let calls = (calls(120)? - calls(20)?) / 100.0;
        let [switches, cpu, answer] = drive(&Server::start(form)?, 200)?;
        println!("{}. {form:<20} {calls:>8.1} {switches:>9.2} {cpu:>9.1} {answer:>12.1}", step + 1);
        for (panel, value) in panels.iter_mut().zip([calls, switches, cpu, answer]) {
            panel.bars.push((form.to_string(), value));
        }
    }
    Ok(panels)
}

/// Says what does not hold.
fn holds(panels: &[Panel; 4]) -> Result<(), String> {
    let value = |panel: usize, form: usize| panels[panel].bars[form].1;
    let claim = |holds: bool, what: &str, form: usize| {
        if holds { Ok(()) } else { Err(format!("it does not hold that {what}: {}", FORMS[form].0)) }
    };
    claim((1.9..2.1).contains(&value(0, 0)), "there are recv and send, and nothing else", 0)?;
    for form in [0, 2, 3, 4] {
        claim(value(0, 1) > 3.0 * value(0, form), "asking is the dearest in calls", form)?;
        claim(value(2, 1) > 3.0 * value(2, form), "asking is the dearest in processor time", form)?;
        claim(value(1, form) > 0.5, "it sleeps between messages", form)?;
    }
    Ok(())
}

/// Sends `count` messages, one each millisecond: switches, CPU (us) of each, and the median time to an answer (us).
fn drive(server: &Server, count: u32) -> io::Result<[f64; 3]> {
    let mut stream = TcpStream::connect(server.address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let ask = || {
        thread::sleep(Duration::from_millis(1));
        let sent = Instant::now();
        stream.write_all(b"a message")?;
        stream.read_exact(&mut [0; 9])?;
        Ok(sent.elapsed())
    };
    let (cost, answer) = server.cost_of(count, ask)?;
    Ok([cost.switches / f64::from(count), micros(cost.cpu) / f64::from(count), micros(answer)])
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Answers until the end of the stream, and calls `wait` where a socket that does not wait has nothing.
fn answer(mut stream: &TcpStream, mut wait: impl FnMut()) -> io::Result<()> {
    let mut buf = [0; 64];
    loop {
        match stream.read(&mut buf) {
            Ok(0) => return Ok(()),
            Ok(length) => stream.write_all(&buf[..length])?,
            Err(error) if error.kind() == ErrorKind::WouldBlock => wait(),
            Err(error) => return Err(error),
        }
    }
}

fn blocking(stream: TcpStream) -> io::Result<()> {
    answer(&stream, || unreachable!("`read` waits"))
}

fn spin(stream: TcpStream) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    answer(&stream, || {})
}

fn multiplexed(stream: TcpStream) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    let mut set = [libc::pollfd { fd: stream.as_raw_fd(), events: libc::POLLIN, revents: 0 }]; // one of many
    answer(&stream, || {
        // SAFETY: it has one entry.
        unsafe { libc::poll(set.as_mut_ptr(), 1, -1) };
    })
}

fn signal_driven(stream: TcpStream) -> io::Result<()> {
    let fd = stream.as_raw_fd();
    // SAFETY: bits, of which none is set: the empty set on Linux.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is valid.
    unsafe { libc::sigaddset(&mut set, libc::SIGIO) };
    // Blocked, so that it waits for sigwait instead of killing us.
    // SAFETY: the set is valid, and the old one is not asked for.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) };
    // SAFETY: the descriptor is open; the signals go to this process.
    unsafe { libc::fcntl(fd, libc::F_SETOWN, std::process::id()) };
    // SAFETY: as above.
    unsafe { libc::fcntl(fd, libc::F_SETFL, libc::O_ASYNC | libc::O_NONBLOCK | libc::O_RDWR) };
    answer(&stream, || {
        // SAFETY: both are valid. A signal that came since the last EAGAIN is still pending: no wake-up is lost.
        unsafe { libc::sigwait(&set, &mut 0) };
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
