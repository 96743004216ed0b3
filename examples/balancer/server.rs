//! One of the servers: HTTP by hand, a request on a connection.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bourn::server::{Connection, Control, Drain, Limits, Server};

/// The longest head of a request.
const LONGEST: usize = 8192;

pub async fn run(name: &str, addr: SocketAddr, hand_over: &str, announce: Duration) -> io::Result<ExitCode> {
    let mut server = Server::new()
        .limits(Limits::new().connections(2000).first_byte(Duration::from_secs(5)))
        .drain(Drain::new().announce(announce).deadline(Duration::from_secs(10)))
        // Only the balancer knows who the peer is.
        .proxy_from(Ipv4Addr::LOCALHOST, 32)
        .hand_over(hand_over)
        .await?
        .bind(addr)
        .await?;
    let control = server.control();
    let name: Arc<str> = Arc::from(name);
    let report = server.serve(move |connection| answer(connection, control.clone(), Arc::clone(&name))).await?;
    Ok(report.exit_code())
}

/// Answers the one request of a connection.
async fn answer(connection: Connection, control: Control, name: Arc<str>) -> io::Result<()> {
    let mut head = vec![0; LONGEST];
    let mut length = 0;
    let health = loop {
        let read = connection.read(&mut head[length..]).await?;
        if read == 0 {
            return Ok(());
        }
        length += read;
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(&head[..length]) {
            Ok(httparse::Status::Complete(_)) => break request.path == Some("/health"),
            Ok(httparse::Status::Partial) if length < LONGEST => {}
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
    };
    let status = if health && control.is_draining() { "503 Service Unavailable" } else { "200 OK" };
    let body = format!("{name} {}", connection.peer());
    let length = body.len();
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
    connection.write_all(answer.as_bytes()).await
}
