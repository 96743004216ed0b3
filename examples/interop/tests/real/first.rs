//! The first programs that docs/interop.md shows are files of this package, and work.

use std::process::Command;

use crate::harness::said;

#[test]
fn the_handbook_shows_the_tested_files() {
    let page = include_str!("../../../../docs/interop.md");
    let shown: Vec<&str> =
        page.split("```rust,ignore\n").skip(1).filter_map(|rest| Some(rest.split_once("```")?.0)).collect();
    assert_eq!(shown[0], include_str!("../../src/bin/first_hyper.rs"));
    assert_eq!(shown[1], include_str!("../../src/bin/first_axum.rs"));
}

/// In a network of its own, for the port is the one that people see.
fn ask(program: &str, path: &str) -> String {
    let script = "ip link set lo up\n\
                  \"$1\" >/dev/null & server=$!\n\
                  until curl --noproxy '*' --silent --fail \"http://127.0.0.1:8000$2\"; do sleep 0.05; done\n\
                  kill -TERM $server && wait $server";
    said(Command::new("unshare").args(["--net", "--", "bash", "-euc", script, "bash", program, path]))
}

#[test]
fn they_answer_and_end_well() {
    assert_eq!(ask(env!("CARGO_BIN_EXE_first_hyper"), "/a/path"), "You asked for /a/path\n");
    assert_eq!(ask(env!("CARGO_BIN_EXE_first_axum"), "/double/21"), "42");
}
