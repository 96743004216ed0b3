//! The PROXY protocol, by which a proxy tells whose connection it passes on
//! (<https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>).

use std::io;

use proxy_header::{ParseConfig, ProxyHeader};

use crate::connection::Connection;
use crate::listener::{Stream, either};

/// The first bytes of version 2, and where its length stands.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const FIXED: usize = 16;
/// No header of version 1 is longer.
const LONGEST_LINE: usize = 107;
/// Nor one of version 2 here, though 64 KiB could be: addresses and what is known of
/// their TLVs take some hundred bytes.
const LONGEST: usize = 2048;

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it is malformed")
}

/// Reads the header, not a byte more, and notes the peer that it names.
pub(crate) async fn read(connection: &Connection) -> io::Result<()> {
    let mut header = Vec::with_capacity(LONGEST_LINE);
    // No header is shorter than 15 bytes.
    fill(connection, &mut header, SIGNATURE.len()).await?;
    if header == SIGNATURE {
        fill(connection, &mut header, FIXED).await?;
        let rest = usize::from(u16::from_be_bytes([header[14], header[15]]));
        if FIXED + rest > LONGEST {
            return Err(malformed());
        }
        fill(connection, &mut header, FIXED + rest).await?;
    } else if header.starts_with(b"PROXY ") {
        read_line(connection, &mut header).await?;
        if !is_strict(&header) {
            return Err(malformed());
        }
    } else {
        return Err(malformed());
    }
    let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
    let (parsed, length) = ProxyHeader::parse(&header, config).map_err(|_| malformed())?;
    if length != header.len() {
        return Err(malformed());
    }
    if let Some(addresses) = parsed.proxied_address() {
        // Set once, before the handler has the connection.
        let _ = connection.place.life.marks.real_peer.set(addresses.source);
    }
    Ok(())
}

/// Whether a line of version 1 is one where the parser lets more pass: ports with a sign or leading zeros, other
/// protocols that begin like `UNKNOWN`.
fn is_strict(line: &[u8]) -> bool {
    let mut fields = line.trim_ascii_end().split(|byte| *byte == b' ').skip(1);
    let is_port = |field: &[u8]| field == b"0" || (!field.starts_with(b"0") && field.iter().all(u8::is_ascii_digit));
    match fields.next() {
        Some(b"TCP4" | b"TCP6") => fields.skip(2).all(is_port),
        protocol => protocol == Some(b"UNKNOWN"),
    }
}

/// Reads from the stream itself: for the limits a header is not what the peer has to say.
async fn fill(connection: &Connection, header: &mut Vec<u8>, length: usize) -> io::Result<()> {
    let start = header.len();
    header.resize(length, 0);
    either!(Stream, &*connection.stream, stream => stream.read_exact(&mut header[start..]).await)
}

/// Looks for the end of the line before it takes anything out of the stream.
async fn read_line(connection: &Connection, header: &mut Vec<u8>) -> io::Result<()> {
    while header.len() < LONGEST_LINE {
        let mut ahead = [0; LONGEST_LINE];
        let ahead = &mut ahead[..LONGEST_LINE - header.len()];
        let length = either!(Stream, &*connection.stream, stream => stream.peek(ahead).await)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let end = ahead[..length].iter().position(|byte| *byte == b'\n');
        let start = header.len();
        fill(connection, header, start + end.map_or(length, |end| end + 1)).await?;
        if end.is_some() {
            return Ok(());
        }
    }
    Err(malformed())
}
