//! The PROXY protocol, by which a proxy tells whose connection it passes on
//! (<https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>).

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::str::FromStr;

use proxy_header::{ParseConfig, ProxyHeader};

use crate::connection::Connection;

/// The first bytes of version 2, and where its length stands.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const FIXED: usize = 16;
/// No header of version 1 is longer.
const LONGEST_LINE: usize = 107;
/// Nor one of version 2 here, though 64 KiB could be: addresses and what is known of
/// their TLVs take some hundred bytes.
const LONGEST: usize = 2048;

/// An IP network: an address and how many of its bits count, as in `10.0.0.0/8`. An
/// address alone is a network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    addr: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether `addr` is of this network. An IPv4 address that is written as one of IPv6
    /// is the IPv4 address.
    pub fn contains(&self, addr: IpAddr) -> bool {
        match (self.addr, addr.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (own.to_bits() ^ other.to_bits()).checked_shr(32 - u32::from(self.prefix)).is_none_or(|rest| rest == 0)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (own.to_bits() ^ other.to_bits()).checked_shr(128 - u32::from(self.prefix)).is_none_or(|rest| rest == 0)
            }
            _ => false,
        }
    }
}

impl From<IpAddr> for Network {
    fn from(addr: IpAddr) -> Network {
        let addr = addr.to_canonical();
        Network { addr, prefix: if addr.is_ipv4() { 32 } else { 128 } }
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Network, InvalidNetwork> {
        let invalid = |_| InvalidNetwork(());
        let Some((addr, prefix)) = text.split_once('/') else {
            return text.parse::<IpAddr>().map(Network::from).map_err(|_| InvalidNetwork(()));
        };
        let addr: IpAddr = addr.parse().map_err(|_| InvalidNetwork(()))?;
        let prefix: u8 = prefix.parse().map_err(invalid)?;
        if prefix > if addr.is_ipv4() { 32 } else { 128 } {
            return Err(InvalidNetwork(()));
        }
        Ok(Network { addr, prefix })
    }
}

/// Not an IP network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidNetwork(());

impl fmt::Display for InvalidNetwork {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("not an IP address or a network like 10.0.0.0/8")
    }
}

impl std::error::Error for InvalidNetwork {}

/// Whose headers are believed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trusted(pub(crate) Vec<Network>);

impl Trusted {
    pub(crate) fn contains(&self, addr: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(addr))
    }
}

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
    } else {
        return Err(malformed());
    }
    let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
    let (parsed, length) = ProxyHeader::parse(&header, config).map_err(|_| malformed())?;
    if length != header.len() {
        return Err(malformed());
    }
    if let Some(addresses) = parsed.proxied_address() {
        connection.set_real_peer(addresses.source);
    }
    Ok(())
}

async fn fill(connection: &Connection, header: &mut Vec<u8>, length: usize) -> io::Result<()> {
    let start = header.len();
    header.resize(length, 0);
    connection.read_exact(&mut header[start..]).await
}

/// Looks for the end of the line before it takes anything out of the stream.
async fn read_line(connection: &Connection, header: &mut Vec<u8>) -> io::Result<()> {
    while header.len() < LONGEST_LINE {
        let mut ahead = [0; LONGEST_LINE];
        let ahead = &mut ahead[..LONGEST_LINE - header.len()];
        let length = connection.peek(ahead).await?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_what_its_prefix_says() {
        let contains = |network: &str, addr: &str| {
            let network: Network = network.parse().expect("a network");
            network.contains(addr.parse().expect("an address"))
        };
        assert!(contains("10.0.0.0/8", "10.255.1.2"));
        assert!(!contains("10.0.0.0/8", "11.0.0.0"));
        assert!(contains("0.0.0.0/0", "203.0.113.7"));
        assert!(!contains("0.0.0.0/0", "2001:db8::1"));
        assert!(contains("127.0.0.1", "127.0.0.1") && !contains("127.0.0.1", "127.0.0.2"));
        assert!(contains("127.0.0.1", "::ffff:127.0.0.1"));
        assert!(contains("2001:db8::/32", "2001:db8:ffff::1") && !contains("2001:db8::/32", "2001:db9::"));
        assert!(contains("::/0", "2001:db8::1"));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1", "localhost"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
