//! The server: what it is told before it serves.

use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bourn_net::{TcpSocket, ToSocketAddrs, lookup_host};

use crate::accept::{Reserve, Running, attend};
use crate::connection::Connection;
use crate::hand_over::Offer;
use crate::host::Host;
use crate::inherit;
use crate::limits::Limits;
use crate::listener::{Addr, Listener};
use crate::notice::Notices;
use crate::report::Report;
use crate::serve;
use crate::shared::{Control, Drain, Shared};
use crate::trusted::Trusted;

/// What a handler returns: nothing, or a result, of which errors are counted.
pub trait Outcome: Send {
    /// Whether all went well.
    fn is_ok(&self) -> bool;
}

impl Outcome for () {
    fn is_ok(&self) -> bool {
        true
    }
}

impl<T: Send, E: Send> Outcome for Result<T, E> {
    fn is_ok(&self) -> bool {
        self.is_ok()
    }
}

/// What the accept loops and handlers share.
pub(crate) struct Plan {
    pub(crate) shared: Arc<Shared>,
    /// Starts the task of a connection.
    pub(crate) start: Box<dyn Fn(Running, Connection) + Send + Sync>,
    pub(crate) reserve: Reserve,
    pub(crate) trusted: Trusted,
}

/// Many listeners, one handler.
///
/// It is told where to listen, then [serves](Server::serve) until it is asked to end:
/// by SIGTERM, SIGINT, or [`Control::drain`]. Errors of accept(2) never end it.
///
/// The type parameter is the runtime; the crate `bourn` fills it.
#[derive(Debug)]
#[must_use = "a server does nothing until `serve`"]
pub struct Server<H> {
    pub(crate) host: H,
    pub(crate) listeners: Vec<Listener>,
    /// Received from a running server, and not asked for yet.
    received: Vec<Listener>,
    shards: Option<usize>,
    pub(crate) limits: Limits,
    pub(crate) drain: Drain,
    pub(crate) signals: bool,
    pub(crate) notices: Notices,
    pub(crate) offer: Option<Offer>,
    pub(crate) control: Option<Control>,
    trusted: Trusted,
}

impl<H: Host> Server<H> {
    /// A server of this thread's runtime that listens nowhere yet.
    ///
    /// # Panics
    /// If the thread is in no runtime.
    #[track_caller]
    #[expect(clippy::new_without_default, reason = "it depends on the thread")]
    pub fn new() -> Server<H> {
        Server {
            host: H::current(),
            listeners: Vec::new(),
            received: Vec::new(),
            shards: None,
            limits: Limits::new(),
            drain: Drain::new(),
            signals: true,
            notices: Notices::default(),
            offer: None,
            control: None,
            trusted: Trusted::default(),
        }
    }

    /// How many listening sockets each address of TCP gets that is bound from now on, at
    /// least 1, each with an accept loop of its own; the kernel spreads connections
    /// among them by a hash of the addresses (`SO_REUSEPORT`, socket(7)). More than one
    /// lets other processes of the same user listen there as well. Default: as many as
    /// the runtime has workers that keep their tasks to themselves, else one.
    pub fn shards(self, shards: usize) -> Server<H> {
        Server { shards: Some(shards.max(1)), ..self }
    }

    /// Listens at every address that `addr` stands for; port 0 lets the kernel choose. An
    /// address at which a socket was [inherited](Server::inherit) or
    /// [handed over](Server::hand_over) is not bound again: that socket is served, with
    /// all its shards.
    ///
    /// # Errors
    /// Those of a name look-up and of bind(2), see [`TcpListener::bind`](bourn_net::TcpListener::bind).
    ///
    /// # Cancel safety
    /// Dropping the future drops the server.
    pub async fn bind(mut self, addr: impl ToSocketAddrs) -> io::Result<Server<H>> {
        let shards = self.shards.unwrap_or_else(|| self.host.shards());
        for mut addr in lookup_host(addr).await? {
            if self.claim(&Addr::Tcp(addr)) {
                continue;
            }
            for _ in 0..shards {
                let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
                socket.set_reuse_addr(true)?;
                socket.set_reuse_port(shards > 1)?;
                socket.bind(addr)?;
                // The others get the port that the kernel chose for the first one.
                addr = socket.local_addr()?;
                self.listeners.push(Listener::tcp(socket.listen(u32::MAX)?)?);
            }
        }
        Ok(self)
    }

    /// Listens at a path. One where nobody listens any more is replaced; it stays when
    /// the server ends.
    ///
    /// # Errors
    /// [`AddrInUse`](io::ErrorKind::AddrInUse) if somebody listens there, it is no socket,
    /// or what a dead process has left can not be removed: that needs permission to read
    /// and to write the folder, and a file system with flock(2). Others of bind(2).
    ///
    /// Servers lock the folder for the moment in which they bind. One that something else
    /// has locked is waited for, at most five seconds; then the path is bound if there is
    /// nothing, and what a dead process has left stays.
    ///
    /// # Cancel safety
    /// Dropping the future drops the server.
    pub async fn bind_unix(mut self, path: impl AsRef<Path>) -> io::Result<Server<H>> {
        let path = path.as_ref();
        if let Ok(addr) = std::os::unix::net::SocketAddr::from_pathname(path)
            && self.claim(&Addr::Unix(addr))
        {
            return Ok(self);
        }
        self.listeners.push(Listener::unix(path).await?);
        Ok(self)
    }

    /// Whether there is a socket at `addr` already, made by somebody else.
    fn claim(&mut self, addr: &Addr) -> bool {
        let (claimed, rest) =
            std::mem::take(&mut self.received).into_iter().partition(|one: &Listener| one.addr.is(addr));
        self.received = rest;
        self.listeners.extend::<Vec<_>>(claimed);
        self.listeners.iter().any(|one| one.addr.is(addr))
    }

    /// Serves every listening socket that the process was started with, by the protocol of
    /// sd_listen_fds(3): `LISTEN_FDS` of them, if `LISTEN_PID` is this process. There may
    /// be none. Whoever started the process keeps them too, so connections that nobody has
    /// accepted when this server ends are the next one's.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for a descriptor that is no listening
    /// stream socket; [`AlreadyExists`](io::ErrorKind::AlreadyExists) if the process has
    /// taken them before.
    pub fn inherit(self) -> io::Result<Server<H>> {
        self.adopt(|_| true)
    }

    /// Like [`inherit`](Server::inherit), but only those of this name (`LISTEN_FDNAMES`); the
    /// others are closed.
    ///
    /// # Errors
    /// As there.
    pub fn inherit_named(self, name: &str) -> io::Result<Server<H>> {
        self.adopt(|own| own == name)
    }

    fn adopt(mut self, wanted: impl Fn(&str) -> bool) -> io::Result<Server<H>> {
        for (_, fd) in inherit::descriptors()?.into_iter().filter(|(name, _)| wanted(name)) {
            self.listeners.push(Listener::inherited(fd, false)?);
        }
        Ok(self)
    }

    /// Has the server hand its listening sockets over to the next process that asks for
    /// them at `path`, and first asks there itself: call it before
    /// [`bind`](Server::bind), which then finds them. What is handed over and not bound is
    /// closed, with the connections in its queue, and a notice says so.
    ///
    /// The moment of ownership: the new process has all the sockets when this returns, and
    /// the old one goes on. When the new one [serves](Server::serve), it says so, and only
    /// then does the old one stop accepting, and drain. If the new one ends before, the
    /// old one serves as if nothing had been; connections that arrive in
    /// between wait in queues that both processes share, so none is refused. An old one
    /// that drains meanwhile accepts until it knows which it is, at most until its
    /// [deadline](Drain::deadline).
    ///
    /// The socket at `path` is for this user alone, and so are the answers there. One that
    /// a dead process left is replaced, by one of those who start at the same time; to agree,
    /// they lock the folder that it is in, which they have to be allowed to read, and wait
    /// five seconds at most if something else has locked it; then it is not replaced.
    ///
    /// # Errors
    /// Those of a Unix socket; [`PermissionDenied`](io::ErrorKind::PermissionDenied) if the
    /// process that listens there is of another user;
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) if there is a file that is no
    /// socket; [`Other`](io::ErrorKind::Other) if there is a dead process's socket in a folder
    /// that stays locked; [`InvalidInput`](io::ErrorKind::InvalidInput) after [`bind`](Server::bind).
    ///
    /// # Cancel safety
    /// Dropping the future drops the server, and the old process goes on. There is no limit
    /// in time: an old process that is stopped is waited for.
    pub async fn hand_over(mut self, path: impl AsRef<Path>) -> io::Result<Server<H>> {
        if self.listeners.iter().any(|one| one.alone) {
            let message = "a socket is bound that the running server may hand over: call hand_over before bind";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let (offer, received) = Offer::at(path.as_ref()).await?;
        self.offer = Some(offer);
        self.received.extend(received);
        Ok(self)
    }

    /// Believes the PROXY headers (versions 1 and 2) of peers in the network of `addr` of
    /// which the first `prefix` bits count (all, if that is more than there are), and refuses
    /// their connections without one, or with one that is malformed. The time for it is that
    /// of [`Limits::first_byte`], which goes on until the first byte behind it. Peers at Unix
    /// sockets are never believed. What other peers send is the handler's. It may be called
    /// several times.
    #[cfg(feature = "proxy")]
    pub fn proxy_from(mut self, addr: impl Into<std::net::IpAddr>, prefix: u8) -> Server<H> {
        self.trusted.0.push((addr.into(), prefix));
        self
    }

    /// Sets the limits. Default: [`Limits::new`].
    pub fn limits(self, limits: Limits) -> Server<H> {
        Server { limits, ..self }
    }

    /// Sets how the server drains. Default: [`Drain::new`].
    pub fn drain(self, drain: Drain) -> Server<H> {
        Server { drain, ..self }
    }

    /// Whether SIGTERM and SIGINT make the server drain, and a second one of them ends the
    /// process at once, with the status 128 + its number; the first one in a drain that has
    /// another [`Cause`](crate::Cause) changes nothing. In a runtime of one thread a handler
    /// that keeps the thread keeps the signals from being heard. Default: yes.
    pub fn signals(self, heed: bool) -> Server<H> {
        Server { signals: heed, ..self }
    }

    /// Has `hook` called with each line that the server has to say, instead of writing it to
    /// stderr. At most one line a second comes on each topic.
    pub fn on_notice(self, hook: impl Fn(&str) + Send + Sync + 'static) -> Server<H> {
        Server { notices: Notices::with_hook(hook), ..self }
    }

    /// The addresses that the server listens at, each shard's.
    pub fn local_addrs(&self) -> Vec<Addr> {
        self.listeners.iter().map(|listener| listener.addr.clone()).collect()
    }

    /// A control for other tasks and threads. Call it after [`limits`](Server::limits) and
    /// [`on_notice`](Server::on_notice): what these set after it is not heeded.
    pub fn control(&mut self) -> Control {
        let make = || Control { shared: Arc::new(Shared::new(self.limits.clone(), self.notices.clone())) };
        self.control.get_or_insert_with(make).clone()
    }

    /// Accepts connections and starts `handler` for each in a task of its own, until the
    /// server is asked to end; then drains, and tells how that went.
    ///
    /// A drain: `Connection::is_draining` becomes true, everywhere at once; the door is
    /// closed to new connections ([`Drain`] says when); all that the kernel has queued are
    /// accepted; the listeners are closed; the handlers end, or are dropped at the
    /// deadline.
    ///
    /// A handler that panics ends alone, and is counted. One that keeps its thread is the
    /// runtime's to report. A connection that outlives its handler is counted and told of,
    /// and keeps its limits.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if it listens nowhere, and what the
    /// system says to the wish for signals.
    ///
    /// # Cancel safety
    /// Dropping the future closes the listeners and drops the handlers where they wait.
    pub async fn serve<F, R>(mut self, handler: F) -> io::Result<Report>
    where
        F: Fn(Connection) -> R + Send + Sync + 'static,
        R: Future<Output: Outcome> + Send + 'static,
    {
        if self.listeners.is_empty() {
            let message = "a server that listens nowhere: call bind before serve";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let (host, handler) = (self.host.clone(), Arc::new(handler));
        let start = move |running: Running, connection| {
            host.spawn(running.life.task_name(), attend(running, Arc::clone(&handler), connection));
        };
        let plan = Plan {
            shared: self.control().shared,
            start: Box::new(start),
            reserve: Reserve::default(),
            trusted: std::mem::take(&mut self.trusted),
        };
        let lost = self.received.drain(..).filter(|one| one.alone).map(|listener| listener.addr.to_string());
        let lost: BTreeSet<_> = lost.collect();
        if !lost.is_empty() {
            self.notices.say("hand-over", format_args!("handed over, not bound, and so closed: {lost:?}"));
        }
        serve::serve(self, Arc::new(plan)).await
    }
}
