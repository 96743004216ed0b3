//! Reports go to stderr, and wait for nobody: a pipe that nobody reads keeps no task from being served.

#![cfg(target_os = "linux")]

mod support;

use std::env;
use std::io::{self, Read, Write};
use std::process::{self, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use bourn_executor::{ExecutorOptions, Handle, Options, ThreadPark, yield_now};
use support::{watchdog, workers_with};

const CHILD: &str = "BOURN_TEST_STDERR_CHILD";
const BLOCK: Duration = Duration::from_millis(400);

/// Starts this test once more as a child, with that stderr, and returns what it says on stdout.
fn child(test: &str, stderr: Stdio) -> String {
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, "1")
        .stderr(stderr)
        .output()
        .unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{told}");
    told
}

/// Blocks a worker, as often as it takes until that is reported: a busy machine may keep the sentinel from seeing it.
fn until_reported(handle: &Handle<ThreadPark>) {
    while handle.metrics().stalls == 0 {
        let task = handle.spawn_with(Options::new().name("sleeper"), async {
            // A name is found once the task has waited.
            yield_now().await;
            thread::sleep(BLOCK / 4);
        });
        futures_lite::future::block_on(task).unwrap();
    }
}

/// With both workers blocked, after a report that stderr did not take, a task is run by a spare.
fn block_and_measure() {
    let runtime = workers_with(ExecutorOptions::multi_thread().workers(2));
    let handle = runtime.handle();
    until_reported(&handle);
    for _ in 0..4 {
        drop(handle.spawn(async { thread::sleep(BLOCK) }));
    }
    // Whoever runs this comes after the blockers, and so from a spare.
    let (ran, has_run) = mpsc::channel();
    let end = Instant::now() + BLOCK / 2;
    let mut worst = Duration::ZERO;
    while Instant::now() < end {
        let (asked, ran) = (Instant::now(), ran.clone());
        drop(handle.spawn(async move { ran.send(asked.elapsed()).unwrap() }));
        worst = worst.max(has_run.recv().unwrap());
        thread::sleep(Duration::from_millis(20));
    }
    println!("worst: {} ms", worst.as_millis());
    let begun = Instant::now();
    drop(runtime);
    println!("end: {} ms", begun.elapsed().as_millis());
    // A panic would wait for whoever should read its message.
    process::exit(0);
}

#[test]
fn that_is_full_delays_no_rescue() {
    if env::var_os(CHILD).is_some() {
        return block_and_measure();
    }
    let _watchdog = watchdog();
    // Best of three: the machine may be busy.
    let times = (0..3).map(|_| {
        let (reader, writer) = io::pipe().unwrap();
        let mut filler = writer.try_clone().unwrap();
        let filled = thread::spawn(move || {
            // Ends when the last reader is gone: until then the pipe is full.
            while filler.write_all(&[b'.'; 4096]).is_ok() {}
        });
        let told = child("that_is_full_delays_no_rescue", writer.into());
        drop(reader);
        filled.join().unwrap();
        ["worst: ", "end: "].map(|what| {
            let (_, tail) = told.split_once(what).expect(&told);
            tail.split_once(" ms").unwrap().0.parse::<u64>().unwrap()
        })
    });
    let [worst, end] = times.reduce(|[a, b], [c, d]| [a.min(c), b.min(d)]).unwrap();
    assert!(worst < 100, "a task waited {worst} ms");
    // The blockers, and a moment for the lines that nobody takes; not the ten seconds of a runtime that hangs.
    assert!(end < 5000, "the runtime took {end} ms to end");
}

#[test]
fn gets_the_last_report_before_the_runtime_has_ended() {
    if env::var_os(CHILD).is_some() {
        let runtime = workers_with(ExecutorOptions::multi_thread().workers(1));
        until_reported(&runtime.handle());
        drop(runtime);
        process::exit(0);
    }
    let _watchdog = watchdog();
    let (mut reader, writer) = io::pipe().unwrap();
    child("gets_the_last_report_before_the_runtime_has_ended", writer.into());
    let mut told = String::new();
    reader.read_to_string(&mut told).unwrap();
    assert!(told.lines().any(|line| line.starts_with("bourn: task ") && line.contains(" \"sleeper\" ")), "{told}");
}
