//! Listening sockets that the process was started with, as systemd does it.

mod harness;

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use bourn::server::{Connection, Server};

use harness::{again, multi_thread, watched};

/// In a process that was started with sockets: what it is to do with them.
const TASK: &str = "BOURN_TEST_TASK";

/// Starts the test `name` again with two listening sockets as its descriptors 3 and 4: as
/// the input and output of a shell, which moves them there and becomes the test, so that
/// `LISTEN_PID` is right.
fn activated(name: &str, task: &str, sockets: [&TcpListener; 2]) -> Child {
    let test = again(name);
    let mut shell = Command::new("/bin/sh");
    let pid = if task == "not ours" { "1" } else { "$$" };
    shell.arg("-c").arg(format!("exec 3<&0 4<&1 </dev/null >&2; LISTEN_PID={pid} exec \"$@\""));
    shell.arg("sh").arg(test.get_program()).args(test.get_args());
    shell.envs(test.get_envs().filter_map(|(key, value)| Some((key, value?))));
    shell.env(TASK, task).env("LISTEN_FDS", "2").env("LISTEN_FDNAMES", "web:admin");
    let [input, output] = sockets.map(|socket| Stdio::from(OwnedFd::from(socket.try_clone().expect("a descriptor"))));
    shell.stdin(input).stdout(output).stderr(Stdio::piped()).spawn().expect("a shell")
}

/// Serves everybody with the number of its process; who says "q" ends the server.
fn serve() {
    multi_thread().block_on(async {
        let mut server = Server::new().signals(false);
        let bound;
        match std::env::var(TASK).expect("a task").as_str() {
            "all" => {
                server = server.inherit().expect("they listen");
                bound = 2;
                let again = Server::new().inherit().expect_err("they are taken");
                assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
                let addr = server.local_addrs()[1].tcp().expect("an address of TCP");
                // There already, so not bound again.
                server = server.bind(addr).await.expect("inherited");
            }
            "named" => {
                server = server.inherit_named("admin").expect("they listen");
                bound = 1;
            }
            "not ours" => {
                server = server.inherit().expect("nothing to do");
                assert_eq!(server.local_addrs().len(), 0);
                return;
            }
            other => panic!("{other}?"),
        }
        assert_eq!(server.local_addrs().len(), bound);
        let ends = server.control();
        let report = server.serve(move |connection: Connection| {
            let ends = ends.clone();
            async move {
                let mut word = [0; 1];
                connection.read_exact(&mut word).await?;
                if &word == b"q" {
                    ends.drain();
                }
                connection.write_all(std::process::id().to_string().as_bytes()).await
            }
        });
        assert!(report.await.expect("it serves").unfinished.is_empty());
    });
}

fn ask(listener: &TcpListener, word: &[u8]) -> String {
    let mut client = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("it listens");
    client.write_all(word).expect("room");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an answer");
    answer
}

fn succeeded(mut child: Child) {
    let mut told = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut told).expect("text");
    assert!(child.wait().expect("it ends").success(), "{told}");
    assert!(told.contains("1 passed"), "{told}");
}

fn pair() -> [TcpListener; 2] {
    [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port is free"))
}

#[test]
fn all_sockets_are_served_and_outlive_the_server() {
    if std::env::var_os(TASK).is_some() {
        return watched("a server with inherited sockets", serve);
    }
    watched("inherited sockets", || {
        let sockets = pair();
        let start = || activated("all_sockets_are_served_and_outlive_the_server", "all", [&sockets[0], &sockets[1]]);
        let mut last = start();
        for _ in 0..3 {
            assert_eq!(ask(&sockets[0], b"?"), last.id().to_string());
            assert_eq!(ask(&sockets[1], b"?"), last.id().to_string());
            // Whoever comes while nobody serves waits for the next server.
            assert_eq!(ask(&sockets[1], b"q"), last.id().to_string());
            succeeded(last);
            let mut early = TcpStream::connect(sockets[0].local_addr().expect("it is bound")).expect("it listens");
            early.write_all(b"?").expect("room");
            last = start();
            let mut answer = String::new();
            early.read_to_string(&mut answer).expect("an answer");
            assert_eq!(answer, last.id().to_string());
        }
        ask(&sockets[0], b"q");
        succeeded(last);
    });
}

#[test]
fn sockets_are_chosen_by_name() {
    if std::env::var_os(TASK).is_some() {
        return watched("a server with a named socket", serve);
    }
    watched("named sockets", || {
        let sockets = pair();
        let child = activated("sockets_are_chosen_by_name", "named", [&sockets[0], &sockets[1]]);
        assert_eq!(ask(&sockets[1], b"q"), child.id().to_string());
        succeeded(child);
    });
}

#[test]
fn sockets_of_another_process_are_left_alone() {
    if std::env::var_os(TASK).is_some() {
        return watched("a server without sockets", serve);
    }
    watched("foreign sockets", || {
        let sockets = pair();
        succeeded(activated("sockets_of_another_process_are_left_alone", "not ours", [&sockets[0], &sockets[1]]));
    });
}
