//! In a program that is built with `panic = "abort"` everything works, up to the
//! first panic: it ends the process, though a handle is awaited and the policy says
//! to ignore it.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output};

use bourn_heavy::watched;

/// Builds the program with the profile `abort`, and gives its path.
fn program() -> std::path::PathBuf {
    // Not the directory of the build that runs this.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("panic_abort");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--locked", "--profile", "abort", "--bin", "panic_abort"])
        .args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")])
        .arg("--target-dir")
        .arg(&target)
        .status();
    assert!(built.expect("cargo").success());
    target.join("abort/panic_abort")
}

fn run(program: &Path, place: &str) -> (Output, String, String) {
    let run = || Command::new(program).arg(place).output().expect("the program");
    let output = watched(&format!("a panic in {place}"), run);
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, stdout, stderr)
}

#[test]
fn the_first_panic_ends_the_process() {
    let program = program();
    let (output, told, _) = run(&program, "nowhere");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(told, "all works\n0 left\n");
    for place in ["task", "call"] {
        let (output, told, complaint) = run(&program, place);
        assert_eq!(output.status.signal(), Some(6), "{output:?}");
        assert_eq!(told, "all works\n");
        assert!(complaint.contains("here"), "{complaint}");
    }
}
