//! rustls, driven by curl, by openssl, and by a client of ours.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::harness::{Server, folder, on_every_setup, ours, run, said};
use crate::http::curl;

const TLS: &str = env!("CARGO_BIN_EXE_tls");
const BIG: usize = 8 << 20;

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
        let server = Server::start(ours(TLS, setup).arg("https").arg(&cert).arg(&key));
        let port = server.addr.port();
        for (option, version) in [("--http1.1", "HTTP/1.1"), ("--http2", "HTTP/2.0")] {
            let get = |path: &str| {
                let url = format!("https://localhost:{port}{path}");
                let output = run(curl().arg(option).arg("--ipv4").arg("--cacert").arg(&cert).arg(url));
                output.stdout
            };
            assert_eq!(get("/"), format!("{version}\n").as_bytes());
            assert!(get("/big") == vec![b'x'; BIG]);
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

#[test]
fn a_client_that_has_said_all_gets_the_whole_answer() {
    let (cert, key) = certificate("sum");
    on_every_setup(|setup| {
        let server = Server::start(ours(TLS, setup).arg("sum").arg(&cert).arg(&key));
        let answer = said(ours(TLS, setup).arg("ask").arg(&cert).arg(server.addr.to_string()));
        assert_eq!(answer, format!("{BIG} bytes after close_notify\n"));
    });
}
