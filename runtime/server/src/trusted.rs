//! Which peers are proxies.

use std::net::IpAddr;

/// Whose headers are believed: networks, each an address and how many of its bits count.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trusted(pub(crate) Vec<(IpAddr, u8)>);

impl Trusted {
    pub(crate) fn contains(&self, addr: IpAddr) -> bool {
        let bits = |addr: IpAddr| match addr {
            IpAddr::V4(addr) => (32, u128::from(addr.to_bits())),
            IpAddr::V6(addr) => (128, addr.to_bits()),
        };
        let (width, addr) = bits(addr.to_canonical());
        self.0.iter().any(|(network, prefix)| {
            let (own, network) = bits(*network);
            let rest = u32::from(u8::saturating_sub(own, *prefix));
            own == width && (network ^ addr).checked_shr(rest).is_none_or(|differing| differing == 0)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_what_its_prefix_says() {
        let contains = |network: &str, prefix, addr: &str| {
            Trusted(vec![(network.parse().expect("an address"), prefix)]).contains(addr.parse().expect("an address"))
        };
        assert!(contains("10.0.0.0", 8, "10.255.1.2"));
        assert!(!contains("10.0.0.0", 8, "11.0.0.0"));
        assert!(contains("0.0.0.0", 0, "203.0.113.7"));
        assert!(!contains("0.0.0.0", 0, "2001:db8::1"));
        assert!(contains("127.0.0.1", 32, "127.0.0.1") && !contains("127.0.0.1", 32, "127.0.0.2"));
        assert!(contains("127.0.0.1", 32, "::ffff:127.0.0.1"));
        assert!(contains("2001:db8::", 32, "2001:db8:ffff::1") && !contains("2001:db8::", 32, "2001:db9::"));
        assert!(contains("::", 0, "2001:db8::1"));
        // Longer than the address: all of it counts.
        assert!(contains("192.0.2.1", 200, "192.0.2.1") && !contains("192.0.2.1", 200, "192.0.2.2"));
    }
}
