//! Which kernel call a reactor waits in.

use std::fmt;
use std::io;
use std::str::FromStr;

/// The kernel call that a [`Poller`](crate::Poller) or a
/// [`Reactor`](crate::Reactor) waits in, chosen at run time.
///
/// The default is [`Epoll`](Backend::Epoll); the environment variable
/// `BOURN_BACKEND` overrides it wherever [`from_env`](Backend::from_env) is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backend {
    /// `epoll(7)`, edge-triggered.
    #[default]
    Epoll,
    /// `poll(2)`: every wait hands the whole list of descriptors to the kernel.
    Poll,
    /// `select(2)`: like `poll`, for descriptors below `FD_SETSIZE` (1,024) only.
    Select,
    /// Whatever the crate `mio` uses on this system (`epoll` on Linux, `kqueue`
    /// on the BSDs and macOS).
    Mio,
}

impl Backend {
    /// Every backend of this system, the default one first.
    pub const ALL: &'static [Backend] = &[Backend::Epoll, Backend::Poll, Backend::Select, Backend::Mio];

    /// The environment variable that [`from_env`](Backend::from_env) reads.
    pub const VARIABLE: &'static str = "BOURN_BACKEND";

    /// The backend that `BOURN_BACKEND` names, or the default if it is unset or
    /// empty.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if the variable names no
    /// backend of this system; the message lists them.
    pub fn from_env() -> io::Result<Backend> {
        let name = std::env::var_os(Self::VARIABLE).unwrap_or_default();
        if name.is_empty() {
            return Ok(Backend::default());
        }
        name.to_string_lossy()
            .parse()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, format!("{}: {error}", Self::VARIABLE)))
    }

    /// The name that [`FromStr`] understands: `epoll`, `poll`, `select` or `mio`.
    pub fn name(self) -> &'static str {
        match self {
            Backend::Epoll => "epoll",
            Backend::Poll => "poll",
            Backend::Select => "select",
            Backend::Mio => "mio",
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Backend {
    type Err = UnknownBackend;

    fn from_str(name: &str) -> Result<Self, UnknownBackend> {
        let known = Self::ALL.iter().find(|backend| backend.name() == name);
        known.copied().ok_or_else(|| UnknownBackend { name: name.to_owned() })
    }
}

/// The error of parsing a [`Backend`] from a name that this system lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownBackend {
    name: String,
}

impl fmt::Display for UnknownBackend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = Backend::ALL.iter().map(|backend| backend.name()).collect();
        write!(formatter, "there is no backend {:?} here; choose {}", self.name, names.join(", "))
    }
}

impl std::error::Error for UnknownBackend {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for backend in Backend::ALL {
            assert_eq!(backend.to_string().parse(), Ok(*backend));
        }
    }

    #[test]
    fn an_unknown_name_lists_the_choices() {
        let error = "kqueue?".parse::<Backend>().unwrap_err().to_string();
        assert!(error.contains("\"kqueue?\""), "{error}");
        assert!(error.contains("poll, select"), "{error}");
    }
}
