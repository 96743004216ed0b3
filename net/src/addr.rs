//! What may stand for an address, and how it becomes one.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::offload;
use crate::sys;

/// Something that stands for one or more addresses: an address, a slice of them,
/// an IP address or a host name with a port, or `"host:port"`.
///
/// IP addresses in text are parsed on the spot; only names are looked up, through
/// [`offload`]. Not to be implemented elsewhere.
pub trait ToSocketAddrs: sealed::Sealed {}

pub(crate) mod sealed {
    use super::Target;
    use std::io;

    /// Keeps the trait closed, so that it can grow.
    pub trait Sealed {
        #[doc(hidden)]
        fn target(&self) -> io::Result<Target>;
    }
}

/// What a [`ToSocketAddrs`] means, before anything was looked up.
#[derive(Debug)]
pub enum Target {
    /// The addresses themselves.
    Known(Vec<SocketAddr>),
    /// A name to look up.
    Name {
        /// The name.
        host: String,
        /// The port, which the name does not tell.
        port: u16,
    },
}

impl Target {
    fn one(addr: impl Into<SocketAddr>) -> Target {
        Target::Known(vec![addr.into()])
    }

    fn host(host: &str, port: u16) -> Target {
        match host.parse::<IpAddr>() {
            Ok(ip) => Target::one((ip, port)),
            Err(_) => Target::Name { host: host.to_owned(), port },
        }
    }
}

/// Looks up what `addr` stands for, in the order in which it should be tried.
///
/// # Errors
/// [`InvalidInput`](io::ErrorKind::InvalidInput) for text that is not
/// `host:port`, or for no address at all; the resolver's error for a name that
/// it can not find; the errors of [`offload::run`].
///
/// # Cancel safety
/// Nothing is lost. A look-up that has begun goes on by itself, and its result is
/// dropped.
pub async fn lookup_host(addr: impl ToSocketAddrs) -> io::Result<Vec<SocketAddr>> {
    let addrs = match addr.target()? {
        Target::Known(addrs) => addrs,
        Target::Name { host, port } => {
            let found = offload::ask({
                let host = host.clone();
                move || sys::look_up(&host, port)
            });
            found.await?.map_err(|error| io::Error::new(error.kind(), format!("{host:?}: {error}")))?
        }
    };
    if addrs.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "no address to use: the list, or the answer to the look-up, is empty",
        ));
    }
    Ok(addrs)
}

macro_rules! one_address {
    ($($kind:ty),*) => {$(
        impl ToSocketAddrs for $kind {}
        impl sealed::Sealed for $kind {
            fn target(&self) -> io::Result<Target> {
                Ok(Target::one(*self))
            }
        }
    )*};
}

one_address!(SocketAddr, SocketAddrV4, SocketAddrV6, (IpAddr, u16), (Ipv4Addr, u16), (Ipv6Addr, u16));

impl ToSocketAddrs for [SocketAddr] {}
impl sealed::Sealed for [SocketAddr] {
    fn target(&self) -> io::Result<Target> {
        Ok(Target::Known(self.to_vec()))
    }
}

impl<const N: usize> ToSocketAddrs for [SocketAddr; N] {}
impl<const N: usize> sealed::Sealed for [SocketAddr; N] {
    fn target(&self) -> io::Result<Target> {
        self.as_slice().target()
    }
}

impl ToSocketAddrs for Vec<SocketAddr> {}
impl sealed::Sealed for Vec<SocketAddr> {
    fn target(&self) -> io::Result<Target> {
        self.as_slice().target()
    }
}

impl ToSocketAddrs for str {}
impl sealed::Sealed for str {
    fn target(&self) -> io::Result<Target> {
        if let Ok(addr) = self.parse::<SocketAddr>() {
            return Ok(Target::one(addr));
        }
        let (host, port) =
            self.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?))).ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("{self:?} is not \"host:port\", with a port from 0 to 65535"),
                )
            })?;
        Ok(Target::host(host, port))
    }
}

impl ToSocketAddrs for String {}
impl sealed::Sealed for String {
    fn target(&self) -> io::Result<Target> {
        self.as_str().target()
    }
}

impl ToSocketAddrs for (&str, u16) {}
impl sealed::Sealed for (&str, u16) {
    fn target(&self) -> io::Result<Target> {
        Ok(Target::host(self.0, self.1))
    }
}

impl ToSocketAddrs for (String, u16) {}
impl sealed::Sealed for (String, u16) {
    fn target(&self) -> io::Result<Target> {
        Ok(Target::host(&self.0, self.1))
    }
}

impl<A: ToSocketAddrs + ?Sized> ToSocketAddrs for &A {}
impl<A: ToSocketAddrs + ?Sized> sealed::Sealed for &A {
    fn target(&self) -> io::Result<Target> {
        (**self).target()
    }
}

#[cfg(test)]
mod tests {
    use super::sealed::Sealed;
    use super::*;

    fn known(addr: &dyn Sealed) -> Option<SocketAddr> {
        match addr.target() {
            Ok(Target::Known(addrs)) => addrs.first().copied(),
            _ => None,
        }
    }

    #[test]
    fn literals_are_not_looked_up() {
        let four = Some(SocketAddr::from(([127, 0, 0, 1], 80)));
        let six = Some(SocketAddr::from((Ipv6Addr::LOCALHOST, 80)));
        assert_eq!(known(&"127.0.0.1:80"), four);
        assert_eq!(known(&("127.0.0.1", 80)), four);
        assert_eq!(known(&String::from("127.0.0.1:80")), four);
        assert_eq!(known(&(Ipv4Addr::LOCALHOST, 80)), four);
        assert_eq!(known(&"[::1]:80"), six);
        assert_eq!(known(&("::1", 80)), six);
    }

    #[test]
    fn names_are_looked_up() {
        let target = "localhost:80".target();
        assert!(matches!(&target, Ok(Target::Name { host, port: 80 }) if host == "localhost"), "{target:?}");
    }

    #[test]
    fn text_that_is_no_address_is_refused() {
        for text in ["localhost", "localhost:", "localhost:65536", ""] {
            let error = text.target().expect_err(text);
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
    }
}
