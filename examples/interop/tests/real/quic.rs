//! quinn, client to server.

use crate::harness::{on_every_setup, ours, said};
use crate::tls::certificate;

#[test]
fn a_hundred_megabytes_arrive_unharmed() {
    let (cert, key) = certificate("quic");
    on_every_setup(|setup| {
        let result = said(ours(env!("CARGO_BIN_EXE_quic"), setup).arg(&cert).arg(&key));
        assert_eq!(result, "104857600 bytes in 4 connections, hashed at both ends\n");
    });
}
