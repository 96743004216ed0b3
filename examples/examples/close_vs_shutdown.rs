//! What each way of ending a TCP connection does to both sides, as the kernel has them (asked as `ss` asks).
//!
//! Seven ways, each with a side A that acts after 40 ms and a side B that closes 40 ms later. Rows 25, 27,
//! 30, 48 to 53, 55, 57 and 61 of the sockets checklist.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread::sleep;
use std::time::Duration;

use bourn_examples::kernel::{self, Look};
use bourn_examples::picture::{self, Lane, Span};
use socket2::SockRef;

const STATES: [&str; 7] = ["ESTABLISHED", "FIN_WAIT2", "TIME_WAIT", "CLOSE_WAIT", "FIN_WAIT1", "LAST_ACK", "CLOSE"];
const MOMENT: Duration = Duration::from_millis(40);

/// Leaves things as they are for a moment, and until the watcher has seen them.
fn moment() {
    sleep(MOMENT);
    kernel::seen();
}

/// Runs one way of ending, while another thread asks the kernel every millisecond.
fn watch(way: fn(TcpStream, TcpStream)) -> Vec<Look> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let a = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let b = listener.accept().unwrap().0;
    drop(listener);
    let (here, there) = (a.local_addr().unwrap(), b.local_addr().unwrap());
    kernel::watch([here, there], || {
        moment();
        way(a, b);
        moment();
    })
}

/// What B's next read says.
fn read(mut stream: &TcpStream) -> String {
    let mut buf = [0; 64];
    match stream.read(&mut buf) {
        Ok(0) => "end of stream".into(),
        Ok(length) => String::from_utf8_lossy(&buf[..length]).into(),
        Err(error) => format!("{:?}", error.kind()),
    }
}

/// How B behaves: it reads the end, and closes a moment later.
fn answered(b: TcpStream) {
    assert_eq!(read(&b), "end of stream");
    moment();
    drop(b);
}

const ORDERLY: [&[&str]; 2] = [&["ESTABLISHED", "FIN_WAIT2", "TIME_WAIT"], &["ESTABLISHED", "CLOSE_WAIT", "gone"]];
const RESET: [&[&str]; 2] = [&["ESTABLISHED", "gone"], &["ESTABLISHED", "gone"]];

fn main() -> picture::Result<()> {
    let mut lanes = Vec::new();
    let mut end = |title: &str, why: &str, expected: [&[&str]; 2], way: fn(TcpStream, TcpStream)| {
        println!("{}. {title}: {why}", lanes.len() + 1);
        let (looks, mut rows) = (watch(way), Vec::new());
        for (side, name) in ["A", "B"].into_iter().enumerate() {
            let stays = || looks.chunk_by(|one, next| one.1[side] == next.1[side]);
            let mut states: Vec<_> = stays().map(|stay| stay[0].1[side]).collect();
            println!("   {name}: {}", states.join(" -> "));
            // Short stays on the way may be seen or not.
            states.retain(|state| !["FIN_WAIT1", "LAST_ACK", "CLOSE"].contains(state));
            assert_eq!(states, expected[side], "{title}: side {name}");
            let kind = |stay: &[Look]| STATES.iter().position(|state| *state == stay[0].1[side]);
            let span =
                |stay: &[Look]| Some(Span { from: stay[0].0, to: stay[stay.len() - 1].0 + 1.0, kind: kind(stay)? });
            rows.push((name.to_string(), stays().filter_map(span).collect()));
        }
        lanes.push(Lane { title: format!("{title}: {why}"), rows });
    };

    end("close", "FIN, which B's kernel acknowledges without B's program", ORDERLY, |a, b| {
        drop(a);
        answered(b);
    });
    end("shutdown(Write)", "the same FIN, but A still reads the answer", ORDERLY, |a, mut b| {
        a.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read(&b), "end of stream");
        moment();
        b.write_all(b"answer").unwrap();
        drop(b);
        assert_eq!(read(&a), "answer");
    });
    const STAYS: [&[&str]; 2] = [&["ESTABLISHED"]; 2];
    end("shutdown(Read)", "nothing is sent, and on Linux later data still arrives", STAYS, |a, mut b| {
        a.shutdown(Shutdown::Read).unwrap();
        assert_eq!(read(&a), "end of stream");
        moment();
        b.write_all(b"still works").unwrap();
        while a.peek(&mut [0]).unwrap() == 0 {} // 0 means "the end" as long as nothing has come
        assert_eq!(read(&a), "still works");
        moment();
        std::mem::forget((a, b)); // the sample ends before they do
    });
    end("shutdown(Both)", "as close, but A keeps its descriptor", ORDERLY, |a, b| {
        a.shutdown(Shutdown::Both).unwrap();
        answered(b);
    });
    end("close with linger 0", "RST. No FIN, no TIME_WAIT, B's read fails", RESET, |a, b| {
        SockRef::from(&a).set_linger(Some(Duration::ZERO)).unwrap();
        drop(a);
        assert_eq!(read(&b), "ConnectionReset");
    });
    end("close with unread data", "RST, too, although nobody asked for one", RESET, |a, mut b| {
        b.write_all(b"never read").unwrap();
        while a.peek(&mut [0]).unwrap() == 0 {}
        drop(a);
        assert_eq!(read(&b), "ConnectionReset");
    });
    end("close of a dup, then of the last descriptor", "only the last one sends the FIN", ORDERLY, |a, b| {
        let twin = a.try_clone().unwrap();
        drop(a);
        moment();
        b.set_nonblocking(true).unwrap();
        assert_eq!((&b).read(&mut [0]).map_err(|error| error.kind()), Err(ErrorKind::WouldBlock), "no FIN yet");
        b.set_nonblocking(false).unwrap();
        drop(twin);
        answered(b);
    });

    let title = "How a TCP connection ends, by what A does at 40 ms (blank: the kernel has forgotten it)";
    picture::timeline("close_vs_shutdown", title, "time (ms)", 18, &STATES, &lanes)?;
    println!("8. holds: FIN is one per direction, RST is neither, and close only counts descriptors down");
    Ok(())
}
