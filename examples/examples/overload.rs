//! Too many clients, and clients that are slow on purpose: what limits do for the others.
//!
//! The same server twice, without limits and with them, against 120 clients that send one byte every 100 ms and never finish
//! their line ("slow loris"), while an honest client tries to get answers. The server has 100 descriptors. Rows 2, 28 and 37
//! of the sockets checklist.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use bourn::server::{Connection, Limits, Server, WhenFull};
use bourn_examples::picture::{self, Axis};

const CROWD: usize = 120;
const RUN: Duration = Duration::from_secs(4);

async fn handler(connection: Connection) -> io::Result<()> {
    let (mut line, mut buf) = (Vec::new(), [0; 256]);
    while connection.more().await? {
        let length = connection.read(&mut buf).await?;
        line.extend(&buf[..length]);
        if line.ends_with(b"\n") {
            connection.write_all(&std::mem::take(&mut line)).await?;
        }
    }
    Ok(())
}

async fn serve(limited: bool) -> io::Result<()> {
    rlimit::setrlimit(rlimit::Resource::NOFILE, 100, 100)?;
    let limits = if limited {
        // Whoever has begun a line must go on with 100 bytes a second; there is room for all but few descriptors.
        Limits::new()
            .connections(80)
            .when_full(WhenFull::Shed)
            .min_rate(100, Duration::from_millis(500))
            .idle(Duration::from_millis(800))
    } else {
        Limits::none()
    };
    let mut server =
        Server::new().limits(limits).on_notice(|line| println!("   server: {line}")).bind("127.0.0.1:0").await?;
    println!("{}", server.local_addrs()[0].tcp().expect("an address of TCP"));
    let control = server.control();
    bourn::spawn(async move {
        bourn::time::sleep(RUN + Duration::from_millis(500)).await;
        control.drain();
    });
    let report = server.serve(handler).await?;
    println!("stats {:?}", report.stats);
    Ok(())
}

/// One byte at a time, and never a whole line; comes back when it is thrown out.
fn loris(address: &str, until: Instant) {
    while Instant::now() < until {
        let Ok(mut stream) = TcpStream::connect(address) else { continue };
        while Instant::now() < until && stream.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(100));
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// Asks for an answer with a new connection each time; returns when each one came, for the picture.
fn honest(address: &str, began: Instant) -> io::Result<Vec<(f64, f64)>> {
    let mut answers = vec![(0.0, 0.0)];
    while began.elapsed() < RUN {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_millis(200)))?;
        let mut answer = [0; 6];
        match stream.write_all(b"hello\n").and_then(|()| stream.read_exact(&mut answer)) {
            Ok(()) => answers.push((began.elapsed().as_secs_f64(), answers.len() as f64)),
            // Waits in the queue, or was shed: tries again.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => {}
        }
        thread::sleep(Duration::from_millis(20));
    }
    answers.push((began.elapsed().as_secs_f64(), answers.len() as f64 - 1.0));
    Ok(answers)
}

fn main() -> picture::Result<()> {
    if let Some(limited) = env::args().nth(1) {
        return Ok(bourn::block_on(serve(limited == "limits"))?);
    }
    let mut curves = Vec::new();
    let mut cpu = Vec::new();
    for (step, (name, argument)) in [("without limits", "none"), ("with limits", "limits")].into_iter().enumerate() {
        println!("{}. {name}: {CROWD} slow clients, a server with 100 descriptors, one honest client", step + 1);
        let mut server = Command::new(env::current_exe()?).arg(argument).stdout(Stdio::piped()).spawn()?;
        let mut output = BufReader::new(server.stdout.take().expect("piped"));
        let mut address = String::new();
        output.read_line(&mut address)?;
        let (address, began) = (address.trim().to_string(), Instant::now());
        let crowd: Vec<_> = (0..CROWD)
            .map(|_| {
                let address = address.clone();
                thread::spawn(move || loris(&address, began + RUN))
            })
            .collect();
        thread::sleep(Duration::from_millis(300)); // the crowd is there first
        let answers = honest(&address, began)?;
        let used = fs::read_to_string(format!("/proc/{}/schedstat", server.id()))?;
        cpu.push(used.split(' ').next().expect("a time").parse::<f64>()? / 1e9);
        let mut report = String::new();
        output.read_to_string(&mut report)?;
        server.wait()?;
        for client in crowd {
            client.join().expect("no panic");
        }
        for line in report.lines() {
            println!("   {}", line.trim().chars().take(200).collect::<String>());
        }
        println!("   the honest client got {} answers; the server's CPU time {:.2} s", answers.len() - 2, cpu[step]);
        curves.push((name, answers));
    }
    let title = "Answers to one honest client, among 120 that are slow on purpose";
    let x = Axis { label: "time (s)", logarithmic: false };
    let y = Axis { label: "answers, in all", logarithmic: false };
    picture::lines("overload", title, x, y, &curves)?;
    let [none, limits] = [0, 1].map(|run: usize| curves[run].1.len() - 2);
    assert!(limits > 20 && limits > 5 * none, "limits make room for the honest one: {limits} answers against {none}");
    assert!(cpu.iter().all(|seconds| *seconds < 2.0), "at the end of descriptors it waits, and does not spin: {cpu:?}");
    println!("3. holds: without limits the slow ones keep everybody out; with them they are shown the door");
    Ok(())
}
