//! What each way of ending a TCP connection does to both sides, as the kernel has them (asked as `ss` asks).
//!
//! Seven ways, each with a side A that acts after 40 ms and a side B that closes 40 ms later. Rows 25, 27,
//! 30, 48 to 53, 57 and 61 of the sockets checklist.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use bourn_examples::kernel;
use bourn_examples::picture::{self, Lane, Span};
use socket2::SockRef;

const STATES: [&str; 7] = ["ESTABLISHED", "FIN_WAIT2", "TIME_WAIT", "CLOSE_WAIT", "FIN_WAIT1", "LAST_ACK", "CLOSE"];
const MOMENT: Duration = Duration::from_millis(40);

/// How often the watcher has looked.
static LOOKS: AtomicUsize = AtomicUsize::new(0);

/// Leaves things as they are for a moment, and until the watcher has seen them.
fn moment() {
    let before = LOOKS.load(Relaxed);
    sleep(MOMENT);
    while LOOKS.load(Relaxed) < before + 3 {
        sleep(Duration::from_millis(1));
    }
}

/// Times (ms) and states; `None`: the kernel has forgotten this side.
type History = Vec<(f64, Option<usize>)>;

/// Runs one way of ending, while another thread asks the kernel every millisecond.
fn watch(way: impl FnOnce(TcpStream, TcpStream)) -> [History; 2] {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let a = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let b = listener.accept().unwrap().0;
    let (here, there) = (a.local_addr().unwrap(), b.local_addr().unwrap());
    drop(listener);
    let (stop, stopped) = mpsc::channel::<()>();
    let watcher = thread::spawn(move || {
        let began = Instant::now();
        let mut seen: [History; 2] = Default::default();
        while stopped.recv_timeout(Duration::from_millis(1)) == Err(mpsc::RecvTimeoutError::Timeout) {
            let at = began.elapsed().as_secs_f64() * 1e3;
            for (history, (local, peer)) in seen.iter_mut().zip([(here, there), (there, here)]) {
                let side = kernel::tcp(local, peer).unwrap();
                let state = side.map(|side| STATES.iter().position(|state| *state == side.state).expect(side.state));
                history.push((at, state));
            }
            LOOKS.fetch_add(1, Relaxed);
        }
        seen
    });
    moment();
    way(a, b);
    moment();
    drop(stop);
    watcher.join().unwrap()
}

/// What B's next read says.
fn read(mut stream: &TcpStream) -> String {
    let mut buf = [0; 64];
    match stream.read(&mut buf) {
        Ok(0) => "end of stream".into(),
        Ok(length) => String::from_utf8_lossy(&buf[..length]).into(),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => "ECONNRESET".into(),
        Err(error) => error.to_string(),
    }
}

fn main() -> picture::Result<()> {
    let mut lanes = Vec::new();
    let mut check = |title: &str, seen: [History; 2], expected: [&[&str]; 2]| {
        let mut rows = Vec::new();
        for (side, history) in ["A", "B"].into_iter().zip(&seen) {
            let mut names: Vec<&str> = Vec::new();
            let mut spans: Vec<Span> = Vec::new();
            let ends = history.iter().skip(1).map(|sample| sample.0).chain([history[history.len() - 1].0]);
            for ((from, state), to) in history.iter().zip(ends) {
                let name = state.map_or("gone", |state| STATES[state]);
                if names.last() != Some(&name) {
                    names.push(name);
                    spans.extend(state.map(|kind| Span { from: *from, to, kind }));
                } else if let (Some(span), Some(_)) = (spans.last_mut(), state) {
                    span.to = to;
                }
            }
            println!("   {side}: {}", names.join(" -> "));
            // Short stays on the way may be seen or not.
            names.retain(|name| !["FIN_WAIT1", "LAST_ACK", "CLOSE"].contains(name));
            assert_eq!(names, expected[rows.len()], "{title}: side {side}");
            rows.push((side.to_string(), spans));
        }
        lanes.push(Lane { title: title.to_string(), rows });
    };
    const ORDERLY: [&[&str]; 2] = [&["ESTABLISHED", "FIN_WAIT2", "TIME_WAIT"], &["ESTABLISHED", "CLOSE_WAIT", "gone"]];
    const RESET: [&[&str]; 2] = [&["ESTABLISHED", "gone"], &["ESTABLISHED", "gone"]];
    let answered = |b: TcpStream| {
        assert_eq!(read(&b), "end of stream");
        moment();
        drop(b);
    };

    println!("1. close: FIN, and the half of A's waves that the kernel does without the program");
    let seen = watch(|a, b| {
        drop(a);
        answered(b);
    });
    check("close", seen, ORDERLY);

    println!("2. shutdown(Write): the same FIN, but A still hears the answer");
    let seen = watch(|a, mut b| {
        a.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read(&b), "end of stream");
        moment();
        b.write_all(b"answer").unwrap();
        drop(b);
        assert_eq!(read(&a), "answer");
    });
    check("shutdown(Write): A still reads the answer", seen, ORDERLY);

    println!("3. shutdown(Read): nothing is sent, and on Linux later data still arrives");
    let seen = watch(|a, mut b| {
        a.shutdown(Shutdown::Read).unwrap();
        assert_eq!(read(&a), "end of stream");
        moment();
        b.write_all(b"still works").unwrap();
        while a.peek(&mut [0]).unwrap() == 0 {} // 0 means "the end" as long as nothing has come
        assert_eq!(read(&a), "still works");
        moment();
        std::mem::forget((a, b)); // the sample ends before they do
    });
    check("shutdown(Read): nothing on the wire", seen, [&["ESTABLISHED"], &["ESTABLISHED"]]);

    println!("4. shutdown(Both): as close, but A keeps its descriptor");
    let seen = watch(|a, b| {
        a.shutdown(Shutdown::Both).unwrap();
        answered(b);
    });
    check("shutdown(Both)", seen, ORDERLY);

    println!("5. close with a linger time of 0: RST. No FIN, no TIME_WAIT, B's read fails");
    let seen = watch(|a, b| {
        SockRef::from(&a).set_linger(Some(Duration::ZERO)).unwrap();
        drop(a);
        assert_eq!(read(&b), "ECONNRESET");
        moment();
        moment();
    });
    check("close with linger 0: RST", seen, RESET);

    println!("6. close with unread data: RST, too, although nobody asked for one");
    let seen = watch(|a, mut b| {
        b.write_all(b"never read").unwrap();
        while a.peek(&mut [0]).unwrap() == 0 {}
        drop(a);
        assert_eq!(read(&b), "ECONNRESET");
        moment();
        moment();
    });
    check("close with unread data: RST", seen, RESET);

    println!("7. two descriptors of one socket: the first close does nothing, the last one sends the FIN");
    let seen = watch(|a, b| {
        let twin = a.try_clone().unwrap();
        drop(a);
        moment();
        b.set_nonblocking(true).unwrap();
        assert_eq!((&b).read(&mut [0]).map_err(|error| error.kind()), Err(ErrorKind::WouldBlock), "no FIN yet");
        b.set_nonblocking(false).unwrap();
        drop(twin);
        answered(b);
    });
    check("close of a dup (40 ms), then of the last descriptor (80 ms)", seen, ORDERLY);

    let title = "How a TCP connection ends, by what A does at 40 ms (blank: the kernel has forgotten it)";
    picture::timeline("close_vs_shutdown", title, "time (ms)", 18, &STATES, &lanes)?;
    println!("8. holds: FIN is one per direction, RST is neither, and close only counts descriptors down");
    Ok(())
}
