//! What may stand for an address, and how it becomes one.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::time::Duration;

use bourn_reactor::Sleep;

use crate::offload;
use crate::stall::before;
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
    fn one(addr: impl Into<SocketAddr>) -> io::Result<Target> {
        Ok(Target::Known(vec![addr.into()]))
    }

    fn host(host: &str, port: u16) -> io::Result<Target> {
        match host.parse::<IpAddr>() {
            Ok(ip) => Target::one((ip, port)),
            Err(_) => Ok(Target::Name { host: host.to_owned(), port }),
        }
    }

    fn text(text: &str) -> io::Result<Target> {
        if let Ok(addr) = text.parse::<SocketAddr>() {
            return Target::one(addr);
        }
        let parts = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let (host, port) = parts.ok_or_else(|| {
            let message = format!("{text:?} is not \"host:port\", with a port from 0 to 65535");
            io::Error::new(io::ErrorKind::InvalidInput, message)
        })?;
        Target::host(host, port)
    }
}

/// How long a look-up may take: as long as glibc's resolver tries by default for one
/// name with three silent servers (resolv.conf(5), `timeout` and `attempts`).
const LOOK_UP_LIMIT: Duration = Duration::from_secs(30);

/// Looks up what `addr` stands for, in the order in which it should be tried: that
/// of getaddrinfo(3), for a name (RFC 6724).
///
/// # Errors
/// [`InvalidInput`](io::ErrorKind::InvalidInput) for text that is not
/// `host:port`, or for no address at all; the resolver's error for a name that
/// it can not find; [`TimedOut`](io::ErrorKind::TimedOut) after 30 seconds, of
/// which the wait for a thread is a part; the errors of [`offload::run`].
///
/// # Cancel safety
/// Nothing is lost. A look-up that has begun goes on by itself, and its result is
/// dropped.
pub async fn lookup_host(addr: impl ToSocketAddrs) -> io::Result<Vec<SocketAddr>> {
    let addrs = match addr.target()? {
        Target::Known(addrs) => addrs,
        Target::Name { host, port } => {
            let name = host.clone();
            let found = within(LOOK_UP_LIMIT, offload::run(move || sys::look_up(&name, port))).await;
            found.flatten().map_err(|error| of_name(&host, error))?
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

/// The kernel's errors as they are; those of the resolver with the name that they are of.
fn of_name(host: &str, error: io::Error) -> io::Error {
    if error.raw_os_error().is_some() { error } else { io::Error::new(error.kind(), format!("{host:?}: {error}")) }
}

async fn within<T>(limit: Duration, answer: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = || Err(io::Error::new(io::ErrorKind::TimedOut, "the resolver has not answered in time"));
    before(&mut Sleep::after(limit), answer).await.unwrap_or_else(late)
}

/// What `attempt` makes of the first of the addresses that `addr` stands for with which
/// it succeeds, or the error of the last.
pub(crate) async fn first_of<R>(
    addr: impl ToSocketAddrs,
    mut attempt: impl FnMut(SocketAddr) -> io::Result<R>,
) -> io::Result<R> {
    let none = Err(io::ErrorKind::InvalidInput.into());
    lookup_host(addr).await?.into_iter().fold(none, |before, addr| before.or_else(|_| attempt(addr)))
}

macro_rules! to_socket_addrs {
    ($([$($generics:tt)*] $kind:ty: $this:ident => $target:expr;)*) => {$(
        impl<$($generics)*> ToSocketAddrs for $kind {}
        impl<$($generics)*> sealed::Sealed for $kind {
            fn target(&self) -> io::Result<Target> {
                let $this = self;
                $target
            }
        }
    )*};
}

to_socket_addrs! {
    [] SocketAddr: addr => Target::one(*addr);
    [] SocketAddrV4: addr => Target::one(*addr);
    [] SocketAddrV6: addr => Target::one(*addr);
    [] (IpAddr, u16): addr => Target::one(*addr);
    [] (Ipv4Addr, u16): addr => Target::one(*addr);
    [] (Ipv6Addr, u16): addr => Target::one(*addr);
    [] [SocketAddr]: addrs => Ok(Target::Known(addrs.to_vec()));
    [const N: usize] [SocketAddr; N]: addrs => addrs.as_slice().target();
    [] Vec<SocketAddr>: addrs => addrs.as_slice().target();
    [] (&str, u16): pair => Target::host(pair.0, pair.1);
    [] (String, u16): pair => Target::host(&pair.0, pair.1);
    [] str: text => Target::text(text);
    [] String: text => Target::text(text);
    [A: ToSocketAddrs + ?Sized] &A: addr => (**addr).target();
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
    fn a_resolver_that_is_silent_is_given_up() {
        let silent = within(Duration::from_millis(5), std::future::pending::<io::Result<()>>());
        let error = futures_lite::future::block_on(silent).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn an_error_of_the_kernel_stays_what_it_is() {
        let error = of_name("host", io::Error::from_raw_os_error(libc::EMFILE));
        assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
        let error = of_name("host", io::Error::new(io::ErrorKind::TimedOut, "no answer"));
        assert_eq!((error.kind(), error.to_string()), (io::ErrorKind::TimedOut, "\"host\": no answer".to_owned()));
    }

    #[test]
    fn text_that_is_no_address_is_refused() {
        for text in ["localhost", "localhost:", "localhost:65536", ""] {
            let error = text.target().expect_err(text);
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
    }
}
