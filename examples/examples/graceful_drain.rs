//! SIGTERM in the middle of the day: a server under load ends, and nobody who was heard loses an answer.
//!
//! Forty clients ask all the time. Then SIGTERM comes. A handler that never ends is in the way, and is named. Rows 4, 28 and
//! 85 of the sockets checklist.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use std::{env, thread};

use bourn::server::{Connection, Drain, Server};

/// Questions that the server has read, and those that it has answered.
static HEARD: AtomicUsize = AtomicUsize::new(0);
static ANSWERED: AtomicUsize = AtomicUsize::new(0);

/// Answers lines. `more` is false when the client has ended, or in a drain when nothing of it waits to be answered.
async fn handler(connection: Connection) -> io::Result<()> {
    let mut buf = [0; 256];
    while connection.more().await? {
        let length = connection.read(&mut buf).await?;
        HEARD.fetch_add(1, Relaxed);
        if buf.starts_with(b"for ever") {
            std::future::pending::<()>().await; // the bug of this server
        }
        bourn::time::sleep(Duration::from_millis(5)).await; // thinks
        connection.write_all(&buf[..length]).await?;
        ANSWERED.fetch_add(1, Relaxed);
    }
    Ok(())
}

async fn serve(path: &str) -> io::Result<ExitCode> {
    // Two kinds of addresses, one handler, one drain.
    let server = Server::new().drain(Drain::new().deadline(Duration::from_secs(1)));
    let server = server.bind("127.0.0.1:0").await?.bind_unix(path).await?;
    println!("{}", server.local_addrs()[0].tcp().expect("an address of TCP"));
    let report = server.serve(handler).await?;
    for line in report.to_string().lines() {
        println!("   server: {line}");
    }
    println!("{} {}", HEARD.load(Relaxed), ANSWERED.load(Relaxed));
    Ok(report.exit_code())
}

/// Asks until the server closes; counts answers. A question that came too late is not heard: the end comes instead.
fn client(mut stream: impl Read + Write, answers: &AtomicUsize) {
    let mut buf = [0; 16];
    while stream.write_all(b"a question\n").is_ok() && matches!(stream.read(&mut buf), Ok(1..)) {
        answers.fetch_add(1, Relaxed);
    }
}

fn main() -> io::Result<ExitCode> {
    if let Some(path) = env::args().nth(1) {
        return bourn::block_on(serve(&path));
    }
    let path = env::temp_dir().join(format!("bourn-graceful-drain-{}", std::process::id()));
    for stuck in [false, true] {
        let mut server = Command::new(env::current_exe()?).arg(&path).stdout(Stdio::piped()).spawn()?;
        let mut output = BufReader::new(server.stdout.take().expect("piped"));
        let mut address = String::new();
        output.read_line(&mut address)?;
        let address = address.trim().to_string();
        let number = if stuck { 4 } else { 1 };
        println!("{number}. a server at {address} and {}, 40 clients that ask all the time", path.display());
        let answers = &AtomicUsize::new(0);
        thread::scope(|scope| {
            let mut clients = Vec::new();
            for number in 0..40 {
                let (address, path) = (&address, &path);
                clients.push(scope.spawn(move || match number % 2 {
                    0 => TcpStream::connect(address).map(|stream| client(stream, answers)),
                    _ => UnixStream::connect(path).map(|stream| client(stream, answers)),
                }));
            }
            let forever = TcpStream::connect(&address)?;
            if stuck {
                (&forever).write_all(b"for ever\n")?;
            }
            while answers.load(Relaxed) < 2_000 {
                thread::sleep(Duration::from_millis(5));
            }
            println!("{}. SIGTERM after {} answers", number + 1, answers.load(Relaxed));
            let began = Instant::now();
            // SAFETY: our own child, which has not been waited for.
            unsafe { libc::kill(server.id() as i32, libc::SIGTERM) };
            for client in clients {
                client.join().expect("no panic")?;
            }
            let mut report = String::new();
            output.read_to_string(&mut report)?;
            let (report, counts) = report.trim_end().rsplit_once('\n').expect("a report, and counts");
            let (heard, answered) = counts.split_once(' ').expect("two counts");
            let counts = [heard, answered].map(|count| count.parse::<usize>().expect("a count"));
            println!("{report}");
            let status = server.wait()?;
            let arrived = answers.load(Relaxed);
            println!(
                "{}. heard, answered: {counts:?}; arrived: {arrived}; {status}, {:.0?} after the signal",
                number + 2,
                began.elapsed()
            );
            assert_eq!(counts[0], counts[1] + usize::from(stuck), "whoever is heard is answered, but for the bug");
            assert_eq!(counts[1], arrived, "and every answer arrives");
            assert_eq!(status.code(), Some(i32::from(stuck)), "the exit code tells whether everybody was done");
            assert_eq!(report.contains("did not finish"), stuck, "who was not is named");
            drop(forever);
            io::Result::Ok(())
        })?;
    }
    std::fs::remove_file(&path)?;
    println!(
        "7. holds: a drain answers what was asked, waits for who is busy, and names who is not done at the deadline"
    );
    Ok(ExitCode::SUCCESS)
}
