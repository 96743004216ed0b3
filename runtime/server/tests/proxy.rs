//! The PROXY protocol: believed from those who are configured, and from nobody else.

mod harness;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bourn::net::TcpStream;
use bourn::server::{Connection, Limits, Server};

use harness::{Running, everywhere, start, until};

everywhere!(
    version_1_names_the_peer,
    version_2_names_the_peer,
    a_header_may_come_in_pieces,
    a_proxy_may_speak_for_itself,
    what_is_malformed_is_refused,
    a_peer_that_is_not_trusted_is_not_believed,
    the_share_of_an_address_is_the_real_peer_s,
    a_header_is_not_the_first_byte,
    a_header_comes_within_the_time_of_the_first_byte,
    the_rate_does_not_begin_with_the_header,
);

/// Tells the peer, then serves each byte with itself.
async fn tell(connection: Connection) -> io::Result<()> {
    let names = format!("{}\n", connection.peer());
    connection.write_all(names.as_bytes()).await?;
    harness::echo(connection).await
}

async fn trusting(addr: [u8; 4], prefix: u8) -> Running {
    start(Server::new().proxy_from(addr, prefix), tell).await
}

/// Version 2 over TCP and IPv4, with a TLV behind the addresses.
fn version_2(source: [u8; 4], port: u16) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f".to_vec();
    header.extend(source);
    header.extend([192, 0, 2, 1]);
    header.extend(port.to_be_bytes());
    header.extend(443_u16.to_be_bytes());
    // PP2_TYPE_NOOP, without a value.
    header.extend([4, 0, 0]);
    header
}

async fn line(client: &TcpStream) -> String {
    let mut line = Vec::new();
    loop {
        let mut byte = [0; 1];
        client.read_exact(&mut byte).await.expect("a line");
        if &byte == b"\n" {
            return String::from_utf8(line).expect("a name");
        }
        line.push(byte[0]);
    }
}

/// What the server makes of `header`, and that not a byte behind it is lost.
async fn named(running: &Running, header: &[u8]) -> String {
    let client = running.connect().await;
    client.write_all(&[header, b"rest"].concat()).await.expect("room");
    let name = line(&client).await;
    let mut rest = [0; 4];
    client.read_exact(&mut rest).await.expect("an answer");
    assert_eq!(&rest, b"rest");
    name
}

async fn version_1_names_the_peer() {
    let running = trusting([127, 0, 0, 0], 8).await;
    let name = named(&running, b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n").await;
    assert_eq!(name, "203.0.113.7:56324");
    assert_eq!(named(&running, b"PROXY TCP4 203.0.113.7 192.0.2.1 0 65535\r\n").await, "203.0.113.7:0");
    let name = named(&running, b"PROXY TCP6 2001:db8::7 2001:db8::1 56324 443\r\n").await;
    assert_eq!(name, "[2001:db8::7]:56324");
}

async fn version_2_names_the_peer() {
    let running = trusting([127, 0, 0, 1], 32).await;
    assert_eq!(named(&running, &version_2([203, 0, 113, 7], 56324)).await, "203.0.113.7:56324");
}

async fn a_header_may_come_in_pieces() {
    let running = trusting([127, 0, 0, 1], 32).await;
    let headers = [b"PROXY TCP4 203.0.113.7 192.0.2.1 9 443\r\n".to_vec(), version_2([203, 0, 113, 7], 9)];
    for header in headers {
        let client = running.connect().await;
        for byte in &header {
            client.write_all(&[*byte]).await.expect("room");
            bourn::task::yield_now().await;
        }
        assert_eq!(line(&client).await, "203.0.113.7:9");
    }
}

async fn a_proxy_may_speak_for_itself() {
    let running = trusting([127, 0, 0, 1], 32).await;
    for header in [&b"PROXY UNKNOWN\r\n"[..], b"PROXY UNKNOWN ffff:: 1 2 3\r\n", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"] {
        let client = running.connect().await;
        client.write_all(header).await.expect("room");
        assert_eq!(line(&client).await, client.local_addr().expect("an address").to_string());
    }
}

async fn what_is_malformed_is_refused() {
    let running = trusting([127, 0, 0, 1], 32).await;
    let mut too_long = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff".to_vec();
    too_long.resize(4096, 0);
    let mut endless = b"PROXY TCP4 ".to_vec();
    endless.resize(200, b'1');
    let wrong: [&[u8]; 14] = [
        b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 56324\r\n..................",
        b"PROXY TCP4 203.0.113.999 192.0.2.1 1 2\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 70000 443\r\n",
        b"PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 +80 443\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 80 00443\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 080 443\r\n",
        b"PROXY UNKNOWNxyz\r\n",
        b"PROXY UNKNOWN\tx y\r\n",
        b"PROXYTCP4  203.0.113.7 192.0.2.1 1 2\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c............",
        &too_long,
        &endless,
    ];
    for (number, header) in wrong.into_iter().enumerate() {
        let client = running.connect().await;
        client.write_all(header).await.expect("room");
        let mut told = Vec::new();
        // The end, in order or by a reset.
        let _ = client.read_to_end(&mut told).await;
        assert_eq!(told, b"", "header {number}");
        until("it is counted", || running.control.stats().bad_header == number as u64 + 1).await;
    }
    // One that ends in the middle.
    let client = running.connect().await;
    client.write_all(b"PROXY TCP4 203").await.expect("room");
    client.shutdown(std::net::Shutdown::Write).expect("connected");
    until("it is counted", || running.control.stats().bad_header == 15).await;
    assert!(running.lines.contain("no PROXY header from 127.0.0.1"));
}

async fn a_peer_that_is_not_trusted_is_not_believed() {
    let running = trusting([192, 0, 2, 0], 24).await;
    let client = running.connect().await;
    let header = b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n";
    client.write_all(header).await.expect("room");
    assert_eq!(line(&client).await, client.local_addr().expect("an address").to_string());
    let mut data = [0; 44];
    client.read_exact(&mut data).await.expect("what it sent");
    assert_eq!(&data, header);
}

async fn the_share_of_an_address_is_the_real_peer_s() {
    let limits = Limits::new().per_address(1);
    let server = Server::new().limits(limits).proxy_from([127, 0, 0, 1], 32);
    let running = start(server, tell).await;
    let ask = async |source: [u8; 4]| {
        let client = running.connect().await;
        client.write_all(&version_2(source, 1)).await.expect("room");
        client
    };
    let (one, other) = (ask([203, 0, 113, 7]).await, ask([203, 0, 113, 8]).await);
    assert_eq!(line(&one).await, "203.0.113.7:1");
    assert_eq!(line(&other).await, "203.0.113.8:1");
    let refused: SocketAddr = running.addr;
    assert!(ask([203, 0, 113, 7]).await.read(&mut [0]).await.is_err(), "{refused} has its share");
    assert_eq!(running.control.stats().shed_address, 1);
}

async fn limited(limits: Limits) -> Running {
    let server = Server::new().limits(limits).proxy_from([127, 0, 0, 1], 32);
    start(server, async |connection: Connection| {
        connection.read_exact(&mut [0; 3]).await?;
        bourn::time::sleep(Duration::from_millis(200)).await;
        connection.write_all(b"!").await
    })
    .await
}

async fn a_header_is_not_the_first_byte() {
    let running = limited(Limits::none().first_byte(Duration::from_millis(200))).await;
    let headers = [b"PROXY TCP4 203.0.113.7 192.0.2.1 9 443\r\n".to_vec(), version_2([203, 0, 113, 7], 9)];
    for (number, header) in headers.iter().enumerate() {
        let client = running.connect().await;
        client.write_all(header).await.expect("room");
        until("it is cut", || running.control.stats().cut_first_byte == number as u64 + 1).await;
    }
    assert_eq!(running.control.stats().bad_header, 0);
}

async fn a_header_comes_within_the_time_of_the_first_byte() {
    let running = limited(Limits::none().first_byte(Duration::from_millis(200))).await;
    let client = running.connect().await;
    for byte in [&b"PROXY TCP4 203.0.113.7"[..], &[b' '; 80]].concat() {
        if client.write_all(&[byte]).await.is_err() {
            break;
        }
        bourn::time::sleep(Duration::from_millis(20)).await;
    }
    until("it is refused", || running.control.stats().bad_header == 1).await;
    assert_eq!(running.control.stats().cut_first_byte, 1);
}

async fn the_rate_does_not_begin_with_the_header() {
    let running = limited(Limits::none().min_rate(1_000_000, Duration::from_millis(200))).await;
    let client = running.connect().await;
    client.write_all(&version_2([203, 0, 113, 7], 9)).await.expect("room");
    bourn::time::sleep(Duration::from_millis(600)).await;
    client.write_all(b"ask").await.expect("room");
    client.read_exact(&mut [0]).await.expect("an answer");
    assert_eq!(running.control.stats().cut_min_rate, 0);
}
