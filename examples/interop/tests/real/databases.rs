//! redis and tokio-postgres, against redis-server and PostgreSQL.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{PATIENCE, Server, folder, free_addr, on_every_setup, ours, run, said};

#[test]
fn redis_takes_a_long_pipeline_and_a_subscription() {
    let addr = free_addr();
    let port = addr.port().to_string();
    let folder = folder("redis");
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no", "--dir"]).arg(folder);
    let server = Server::start_at(&command, addr);
    on_every_setup(|setup| {
        let result = said(ours(env!("CARGO_BIN_EXE_redis"), setup).arg(server.addr.to_string()));
        assert_eq!(result, "100000 commands, 1000 messages\n");
    });
}

/// The newest PostgreSQL that Debian has installed.
fn postgresql() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("postgresql is installed");
    let mut versions: Vec<_> = versions.map(|version| version.expect("an entry").path().join("bin")).collect();
    versions.sort();
    versions.pop().expect("a version")
}

/// A command of PostgreSQL's, which refuses to be run by root.
fn as_postgres(program: &str) -> Command {
    let path = postgresql().join(program);
    if said(Command::new("id").arg("-u")).trim() != "0" {
        return Command::new(path);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--pdeathsig=KILL", "--"]).arg(path);
    command
}

#[test]
fn postgres_streams_a_million_rows_and_cancels_a_query() {
    // Not below the target folder, which user postgres may not be able to enter.
    let folder = PathBuf::from(said(Command::new("mktemp").args(["-d", "/tmp/bourn-postgres-XXXXXX"])).trim());
    if said(Command::new("id").arg("-u")).trim() == "0" {
        run(Command::new("chown").arg("postgres:postgres").arg(&folder));
    }
    let data = folder.join("data");
    run(as_postgres("initdb").args(["--username=postgres", "--auth=trust", "--no-sync", "-D"]).arg(&data));
    let addr = free_addr();
    let mut command = as_postgres("postgres");
    command
        .arg("-D")
        .arg(&data)
        .args(["-h", "127.0.0.1", "-p", &addr.port().to_string(), "-F", "-c", "log_min_messages=fatal", "-k"])
        .arg(&folder);
    let server = Server::start_at(&command, addr);
    // It listens before it is ready.
    let mut is_ready = as_postgres("pg_isready");
    is_ready.args(["-q", "-h", "127.0.0.1", "-p", &addr.port().to_string()]);
    let start = Instant::now();
    while !is_ready.status().expect("it is installed with the server").success() {
        assert!(start.elapsed() < PATIENCE, "PostgreSQL does not get ready");
        thread::sleep(Duration::from_millis(20));
    }
    on_every_setup(|setup| {
        let result = said(ours(env!("CARGO_BIN_EXE_postgres"), setup).arg(server.addr.to_string()));
        assert_eq!(result, "1000000 rows, one query cancelled, 1 afterwards\n");
    });
    // An orderly end, which ends its children, too.
    server.signal("INT");
    assert!(server.wait());
    fs::remove_dir_all(folder).expect("it is ours");
}
