//! A panic that nobody would hear of is reported on stderr, once, in one line; one that somebody hears of is not.

mod support;

use std::env;
use std::panic::{panic_any, set_hook};
use std::process::Command;

use bourn_executor::{Options, yield_now};
use support::{DropBomb, runtime, watchdog};

const CHILD: &str = "BOURN_TEST_REPORT_CHILD";

/// What the child does; only its stderr matters.
fn child() {
    set_hook(Box::new(|_| {}));
    let runtime = runtime();
    let handle = runtime.handle();
    runtime.block_on(async {
        drop(handle.spawn_with(Options::new().name("lonely"), async { panic!("unheard") }));
        let late = handle.spawn(async { panic_any(1_u8) });
        let heard = handle.spawn(async { panic!("heard") });
        drop(handle.spawn(async { DropBomb("output") }));
        yield_now().await;
        drop(late);
        assert!(heard.await.map(|(): ()| ()).unwrap_err().is_panic());
        let cancelled = handle.spawn(std::future::pending::<()>());
        cancelled.abort();
        drop(cancelled);
    });
}

#[test]
fn of_a_panic_nobody_awaits() {
    if env::var_os(CHILD).is_some() {
        return child();
    }
    let _watchdog = watchdog();
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "of_a_panic_nobody_awaits", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    let lines: Vec<_> = stderr.lines().filter(|line| line.starts_with("bourn: ")).collect();
    assert_eq!(lines.len(), 3, "{stderr}");
    let file = file!();
    assert!(lines[0].contains(&format!(" \"lonely\" (spawned at {file}:")), "{stderr}");
    assert!(lines[0].ends_with("): it panicked, and nobody awaited it: \"unheard\""), "{stderr}");
    assert!(
        lines[1].ends_with("): its output, which nobody took, panicked when it was dropped: \"output\""),
        "{stderr}"
    );
    assert!(lines[2].ends_with("): it panicked, and nobody awaited it"), "{stderr}");
}
