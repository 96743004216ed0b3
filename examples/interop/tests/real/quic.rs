//! quinn, client to server.

use std::process::Command;

use crate::harness::{on_every_setup, ours, said};
use crate::tls::certificate;

const ARRIVED: &str = "104857600 bytes in 4 connections, hashed at both ends\n";

#[test]
fn a_hundred_megabytes_arrive_unharmed() {
    let (cert, key) = certificate("quic");
    on_every_setup(|setup| {
        let result = said(ours(env!("CARGO_BIN_EXE_quic"), setup).arg(&cert).arg(&key));
        assert!(result.starts_with(ARRIVED), "{result}");
    });
}

/// Over the loopback interface as it is, no send waits: it takes a queue that a packet stays in. With one, and little
/// room for each socket, several connections wait for the same socket at a time, and each is woken.
#[test]
fn connections_that_wait_for_room_are_all_woken() {
    let (cert, key) = certificate("quic-slow");
    on_every_setup(|setup| {
        let quic = ours(env!("CARGO_BIN_EXE_quic"), setup);
        let shaped =
            "ip link set lo up && tc qdisc add dev lo root tbf rate 400mbit burst 128kb limit 8mb && exec \"$@\"";
        let mut command = Command::new("unshare");
        command
            .args(["--net", "--", "sh", "-c", shaped, "sh"])
            .arg(quic.get_program())
            .args([&cert, &key])
            .arg("20000");
        for (name, value) in quic.get_envs() {
            command.env(name, value.expect("variables are only set"));
        }
        let result = said(&mut command);
        let waits = result.strip_prefix(ARRIVED).expect("all of it").split_whitespace();
        let numbers: Vec<usize> = waits.filter_map(|word| word.parse().ok()).collect();
        assert!(numbers[0] >= 100 && numbers[1] >= 2, "{result}");
        print!("{result}");
    });
}
