//! What waits costs nothing.

use std::process::Stdio;
use std::time::Duration;

use bourn_heavy::{child, is_child, runtime};

const IDLE: Duration = Duration::from_secs(10);
const BEGIN: &str = "the idle time begins";
const END: &str = "the idle time ends";

/// An idle runtime, with a listener, a connection that waits for data, and a timer
/// in an hour, makes no system call in ten seconds. (What ends the ten seconds is
/// the standard library's sleep on another thread.)
#[test]
fn an_idle_runtime_makes_no_system_call() {
    if is_child() {
        for &backend in bourn::Backend::ALL {
            idle(backend);
        }
        return;
    }
    let log = std::env::temp_dir().join(format!("bourn-idle-{}", std::process::id()));
    let path = log.to_str().expect("a path in UTF-8");
    let status = child("an_idle_runtime_makes_no_system_call", &["strace", "-f", "-o", path])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("strace");
    let trace = std::fs::read_to_string(&log).expect("the trace");
    std::fs::remove_file(&log).expect("the trace is removed");
    assert!(status.success());
    let mut calls = None;
    let mut seen = 0;
    for line in trace.lines() {
        if line.contains(BEGIN) {
            calls = Some(Vec::new());
        } else if line.contains(END) {
            let calls: Vec<&str> = calls.take().expect("an end comes after a beginning");
            let calls: Vec<_> = calls.iter().filter(|call| !is_of_the_clock(call)).collect();
            assert!(calls.is_empty(), "while idle: {calls:#?}");
            seen += 1;
        } else if let Some(calls) = &mut calls {
            calls.push(line);
        }
    }
    assert_eq!(seen, bourn::Backend::ALL.len());
}

/// The sleep of the thread that keeps the time. The wait of the runtime itself was
/// entered before the time begins, and is not left in it.
fn is_of_the_clock(line: &str) -> bool {
    line.contains("clock_nanosleep")
}

fn idle(backend: bourn::Backend) {
    let runtime = runtime(backend);
    runtime.block_on(async {
        let listener = bourn::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = bourn::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let tasks = [
            bourn::spawn(async move { drop(listener.accept().await) }),
            bourn::spawn(async move { drop(server.read(&mut [0; 8]).await) }),
            bourn::spawn(bourn::time::sleep(Duration::from_secs(3600))),
        ];
        // Until all of them wait.
        bourn::time::sleep(Duration::from_millis(200)).await;
        let clock = std::thread::spawn(|| {
            std::thread::sleep(Duration::from_millis(200));
            mark(BEGIN);
            std::thread::sleep(IDLE);
            mark(END);
        });
        // The thread's end is told by a connection: nothing else wakes.
        let waker = std::thread::spawn(move || {
            clock.join().unwrap();
            drop(client);
        });
        for task in tasks.into_iter().skip(1).take(1) {
            task.await.unwrap();
        }
        waker.join().unwrap();
    });
}

fn mark(text: &str) {
    // One write, seen by strace.
    eprint!("{text}");
}
