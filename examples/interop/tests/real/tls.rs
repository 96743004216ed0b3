//! rustls, driven by curl, by openssl, and by a client of ours.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use crate::harness::{PATIENCE, Server, folder, on_every_setup, ours, run, said};
use crate::http::curl;

const TLS: &str = env!("CARGO_BIN_EXE_tls");
const SERVED: &str = env!("CARGO_BIN_EXE_served");
const BIG: usize = 64 << 20;

/// Makes a certificate for localhost that vouches for itself, and its key.
pub fn certificate(name: &str) -> (PathBuf, PathBuf) {
    let folder = folder(name);
    let [config, cert, key] = ["config", "cert.pem", "key.pem"].map(|name| folder.join(name));
    let text = "[req]\ndistinguished_name = name\nx509_extensions = extensions\n[name]\n[extensions]\n\
                subjectAltName = DNS:localhost\nbasicConstraints = critical, CA:FALSE\n";
    fs::write(&config, text).expect("room on the disk");
    let curve =
        ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost"];
    run(Command::new("openssl")
        .args(["req", "-x509"])
        .args(curve)
        .arg("-config")
        .arg(&config)
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&cert));
    (cert, key)
}

#[test]
fn curl_and_openssl_talk_tls() {
    let (cert, key) = certificate("https");
    on_every_setup(|setup| {
        let server = Server::start(ours(SERVED, setup).arg("tls").arg(&cert).arg(&key));
        let port = server.addr.port();
        for (option, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
            let get = |path: &str| {
                let url = format!("https://localhost:{port}{path}");
                let mut curl = curl();
                curl.args([option, "--ipv4", "--cacert"]).arg(&cert).args(["--write-out", "%{stderr}%{http_version}"]);
                run(curl.arg(url))
            };
            let hello = get("/");
            assert_eq!(hello.stdout, b"Hello, world!");
            assert_eq!(hello.stderr, version.as_bytes());
            assert!(get("/big").stdout == vec![b'x'; BIG]);
        }

        // openssl says an error, in its status too, unless a close_notify comes before the end.
        let ask = "printf 'GET /big HTTP/1.0\\r\\n\\r\\n' | openssl s_client -quiet -verify_return_error \
                   -servername localhost -CAfile \"$1\" -connect \"$2\"";
        let address = format!("127.0.0.1:{port}");
        let answer =
            run(Command::new("bash").args(["-o", "pipefail", "-c", ask, "bash"]).arg(&cert).arg(address)).stdout;
        let body = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
        assert!(answer[body..] == vec![b'x'; BIG], "{} bytes", answer.len() - body);
    });
}

/// By a protocol of our own, and by HTTP/1.1: an answer after the client's close_notify, and the server's own at its end.
#[test]
fn a_client_that_has_said_all_gets_the_whole_answer() {
    let (cert, key) = certificate("sum");
    on_every_setup(|setup| {
        let server = Server::start(ours(TLS, setup).arg("sum").arg(&cert).arg(&key));
        let answer = said(ours(TLS, setup).arg("ask").arg(&cert).arg(server.addr.to_string()));
        assert_eq!(answer, format!("{} bytes after close_notify\n", 8 << 20));

        let server = Server::start(ours(SERVED, setup).arg("tls").arg(&cert).arg(&key).arg("half_close"));
        let answer = said(ours(TLS, setup).arg("get").arg(&cert).arg(server.addr.to_string()));
        assert_eq!(answer, format!("{BIG} bytes after close_notify\n"));
    });
}

/// SIGTERM reaches through TLS: both versions of HTTP are answered, and a connection that asks nothing ends.
#[test]
fn a_drain_reaches_through_tls() {
    let (cert, key) = certificate("drain");
    on_every_setup(|setup| {
        let server = Server::start(ours(SERVED, setup).arg("tls").arg(&cert).arg(&key));
        let base = format!("https://localhost:{}", server.addr.port());
        let get = |version: &str, path: &str| {
            said(curl().args([version, "--ipv4", "--cacert"]).arg(&cert).arg(format!("{base}{path}")))
        };
        thread::scope(|scope| {
            let mut idle = Command::new("openssl");
            idle.args(["s_client", "-quiet", "-connect", &server.addr.to_string()]);
            let mut idle = idle.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().expect("openssl is installed");
            let busy: Vec<_> =
                ["--http1.1", "--http2"].map(|version| scope.spawn(move || get(version, "/wait/2500"))).into();
            let start = Instant::now();
            while get("--http1.1", "/waiting") != "2" {
                assert!(start.elapsed() < PATIENCE, "both requests arrive");
            }
            server.signal("TERM");
            for busy in busy {
                assert_eq!(busy.join().expect("no panic"), "done");
            }
            assert!(server.wait(), "it ends well");
            idle.wait().expect("it ends, too");
        });
    });
}
