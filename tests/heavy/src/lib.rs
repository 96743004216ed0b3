//! What the heavy tests share.

use std::future::Future;
use std::io::Write as _;
use std::process::{Command, Output};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bourn::runtime::{Builder, Runtime};

/// The longest that any test may take.
const PATIENCE: Duration = Duration::from_secs(240);

/// Ends the process with a message if `what` lasts too long.
pub fn watched<R>(what: &str, body: impl FnOnce() -> R) -> R {
    let (done, watch) = mpsc::channel::<()>();
    let name = what.to_owned();
    thread::spawn(move || {
        if watch.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
            // Not `eprintln!`, which the test harness keeps to itself, and loses here.
            let _told = writeln!(std::io::stderr(), "{name} hangs: not done after {PATIENCE:?}");
            std::process::abort();
        }
    });
    let result = body();
    drop(done);
    result
}

/// A runtime on each backend, one after the other.
pub fn on_every_backend<F: Future<Output = ()>>(what: &str, body: impl Fn() -> F) {
    for &backend in bourn::Backend::ALL {
        watched(&format!("{what} on {backend}"), || runtime(backend).block_on(body()));
    }
}

/// A runtime on this backend.
pub fn runtime(backend: bourn::Backend) -> Runtime {
    Builder::new_current_thread().backend(backend).build().expect("a runtime")
}

/// The variable that tells a test's process apart from the one it starts.
const CHILD: &str = "BOURN_HEAVY_CHILD";

/// Whether this is the process that [`child`] started.
pub fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// The command that runs the test `name` of this binary again as a process of
/// its own, in which [`is_child`] holds; `wrapper` comes before it.
pub fn child(name: &str, wrapper: &[&str]) -> Command {
    let own = std::env::current_exe().expect("the path of this test");
    let mut command = match wrapper.split_first() {
        Some((program, arguments)) => {
            let mut command = Command::new(program);
            command.args(arguments).arg(own);
            command
        }
        None => Command::new(own),
    };
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(CHILD, "1");
    command
}

/// What it printed, if it succeeded.
pub fn succeeded(output: Output) -> String {
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}: {told}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    told
}

/// The resident memory of this process, in bytes.
pub fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("this process's status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line VmRSS");
    let kibibytes: usize = line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("a number");
    kibibytes * 1024
}

/// How many descriptors this process has.
pub fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("this process's descriptors").count()
}

/// The numbers of this process's threads whose names begin with `prefix`.
pub fn named_threads(prefix: &str) -> Vec<String> {
    let threads = std::fs::read_dir("/proc/self/task").expect("this process's threads");
    let numbers = threads.map(|entry| entry.expect("a thread").file_name().into_string().expect("a number"));
    numbers
        .filter(|number| {
            // It may end in between.
            let name = std::fs::read_to_string(format!("/proc/self/task/{number}/comm")).unwrap_or_default();
            name.starts_with(prefix)
        })
        .collect()
}

/// Waits until none of these threads runs for 200 ms; panics if that takes ten seconds.
pub fn rests(threads: &[String]) {
    let switches = || {
        let status = |number: &String| std::fs::read_to_string(format!("/proc/self/task/{number}/status"));
        let count = |status: String| -> Vec<String> {
            status.lines().filter(|line| line.contains("ctxt_switches")).map(str::to_owned).collect()
        };
        threads.iter().filter_map(|number| status(number).ok()).map(count).collect::<Vec<_>>()
    };
    let start = std::time::Instant::now();
    loop {
        let before = switches();
        thread::sleep(Duration::from_millis(200));
        if switches() == before {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "they go on: {before:?}, {:?}", switches());
    }
}
