//! Handing listening sockets over to another process.
//!
//! ```text
//!   old process                                  new process
//!   listens at the path        <-- "please" --
//!                              -- sockets -->    has them; serves not yet
//!   goes on accepting                            gets ready: binds, builds, warms up
//!                              <-- "ready" --    accepts, from the same queues
//!   stops accepting, drains    -- "yours" -->    listens at the path
//! ```
//!
//! Sockets go in messages of a byte and a descriptor each: a byte says what comes, and one
//! of another kind that this was all. The first descriptor is that of the path itself, so
//! that it is never without a listener.
//!
//! While the sockets are out, a drain leaves their door open, for a closed one would be the
//! new process's as well. The two agree by two words, each written before the other is
//! read: the one that says that sockets are out, and the phase.

use std::future::{Future, pending};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bourn_net::{UnixListener, UnixStream};
use bourn_reactor::Sleep;

use crate::accept::Turn;
use crate::bell::when;
use crate::listener::{Listener, is_file, make_room};
use crate::shared::{Cause, Phase, Shared};

/// What a byte on the way says.
const PLEASE: u8 = b'p';
const SOCKET: u8 = b's';
/// A socket that a third process has as well, such as the one that started the first.
const SHARED: u8 = b'S';
const ALL: u8 = b'a';
const READY: u8 = b'r';
const YOURS: u8 = b'y';

const NO_LIMIT: Duration = Duration::MAX;
/// Whoever connects asks at once, or is not waited for.
const MOMENT: Duration = Duration::from_secs(3);
/// After a hand-over that came to nothing.
const PAUSE: Duration = Duration::from_millis(100);

/// What a server has for its successor, and maybe of its predecessor.
#[derive(Debug)]
pub(crate) struct Offer {
    path: UnixListener,
    predecessor: Option<UnixStream>,
}

fn protocol(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// Refuses a peer of another user, but for root.
fn check_peer(stream: &UnixStream) -> io::Result<()> {
    let peer = stream.peer_cred()?.uid;
    let own = UnixStream::pair()?.0.peer_cred()?.uid;
    if peer == own || peer == 0 {
        return Ok(());
    }
    let message = format!("listening sockets are handed over within one user, and the peer is user {peer}");
    Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
}

impl Offer {
    /// Takes over from the server that stands at `path`, if one does; else stands there.
    pub(crate) async fn at(path: &Path) -> io::Result<(Offer, Vec<Listener>)> {
        let mut tries = 0..4;
        let stream = loop {
            match UnixStream::connect(path).await {
                Ok(stream) => break stream,
                Err(error) if tries.next().is_none() => return Err(error),
                // A dead process left it.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && !is_file(path) => {
                    drop(make_room(path).await?);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => match Self::stand_at(path) {
                    Ok(path) => return Ok((Offer { path, predecessor: None }, Vec::new())),
                    // Another process was faster: it has sockets to hand over soon.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    Err(error) => return Err(error),
                },
                Err(error) => return Err(error),
            }
        };
        check_peer(&stream)?;
        // If it is gone, or no server, what it has said tells more.
        let _ = stream.write_all(&[PLEASE]).await;
        let mut sockets = Vec::new();
        loop {
            let mut what = [0; 1];
            let (length, fds) = stream.recv_with_fds(&mut what).await?;
            match (length, what[0]) {
                (1, SOCKET | SHARED) => sockets.extend(fds.into_iter().map(|fd| (fd, what[0] == SOCKET))),
                (1, ALL) => break,
                (0, _) => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ => return Err(protocol("not a server that hands its sockets over")),
            }
        }
        let mut sockets = sockets.into_iter();
        let Some((path, _)) = sockets.next() else { return Err(protocol("nothing was handed over")) };
        let path = UnixListener::from_std(path.into())?;
        let listeners = sockets.map(|(fd, alone)| Listener::inherited(fd, alone)).collect::<io::Result<_>>()?;
        Ok((Offer { path, predecessor: Some(stream) }, listeners))
    }

    /// Listens at `path` under another name first, so that nobody else can ever connect.
    fn stand_at(path: &Path) -> io::Result<UnixListener> {
        let mut private = path.as_os_str().to_owned();
        private.push(format!(".{}{:?}", std::process::id(), std::thread::current().id()));
        let private = Path::new(&private);
        let listener = UnixListener::bind(private)?;
        let placed = std::fs::set_permissions(private, std::fs::Permissions::from_mode(0o600))
            // Unlike a renaming, it replaces nobody.
            .and_then(|()| std::fs::hard_link(private, path));
        std::fs::remove_file(private)?;
        placed.map(|()| listener)
    }

    /// Becomes the owner, then hands over to whoever asks, until one has taken over or the
    /// server ends.
    pub(crate) async fn stand(self, shared: Arc<Shared>, listeners: Vec<Weak<Listener>>) {
        let _turn = Turn(&shared, "the hand-over".to_owned(), None);
        // Closed before the loop is counted as ended.
        let Offer { path, predecessor } = self;
        if let Some(predecessor) = predecessor
            && let Some(Err(error)) = until_phase(&shared, Phase::Closing, NO_LIMIT, become_owner(&predecessor)).await
        {
            // It has ended meanwhile, or ends by itself: the sockets are ours all the same.
            shared.notices.say("hand-over", format_args!("the server before this one does not answer: {error}"));
        }
        while let Some(accepted) = until_phase(&shared, Phase::Closing, NO_LIMIT, path.accept()).await {
            let given = match accepted {
                Ok((stream, _)) => give(&stream, &path, &listeners, &shared).await,
                Err(error) => Err(error),
            };
            // They stay out when they are the new one's: this process has no door to close any more.
            let Err(error) = given else { return };
            shared.sockets_out.store(false, Ordering::SeqCst);
            shared.phase_changed.ring();
            shared.notices.say("hand-over", format_args!("no hand-over: {error}; this process goes on"));
            // An error of accept(2) may come again at once.
            until_phase(&shared, Phase::Closing, PAUSE, pending::<()>()).await;
        }
    }
}

/// Awaits `future`, but no longer than `limit`, nor than until the server is in `phase`.
async fn until_phase<R>(shared: &Shared, phase: Phase, limit: Duration, future: impl Future<Output = R>) -> Option<R> {
    let (mut future, mut limit) = (pin!(future), Sleep::after(limit));
    let check = |cx: &mut Context<'_>| match future.as_mut().poll(cx) {
        Poll::Pending if shared.phase() < phase => Pin::new(&mut limit).poll(cx).map(|()| None),
        Poll::Pending => Poll::Ready(None),
        Poll::Ready(result) => Poll::Ready(Some(result)),
    };
    shared.phase_changed.until(check).await
}

/// Says that this process accepts, and waits until the old one does no more.
async fn become_owner(predecessor: &UnixStream) -> io::Result<()> {
    predecessor.write_all(&[READY]).await?;
    let mut answer = [0; 1];
    predecessor.read_exact(&mut answer).await?;
    if answer == [YOURS] { Ok(()) } else { Err(protocol("it answers something else")) }
}

/// Hands everything over. An error means that nothing has changed hands.
async fn give(
    stream: &UnixStream,
    path: &UnixListener,
    listeners: &[Weak<Listener>],
    shared: &Shared,
) -> io::Result<()> {
    check_peer(stream)?;
    let ended = || io::Error::other("this server has ended");
    // Whoever only connects, for whatever reason, holds up neither a drain nor, for long, others.
    let mut word = [0; 1];
    let asked = until_phase(shared, Phase::Closing, MOMENT, stream.read_exact(&mut word)).await;
    asked.ok_or_else(|| io::Error::other("nobody asked for the sockets in time"))??;
    if word != [PLEASE] {
        return Err(protocol("the other process asks for something else"));
    }
    // SeqCst: before the phase is read, as the drain writes the phase before it reads this.
    shared.sockets_out.store(true, Ordering::SeqCst);
    if shared.phase() >= Phase::Closing {
        return Err(ended());
    }
    stream.send_with_fds(&[SOCKET], &[path.as_fd()]).await?;
    for listener in listeners {
        // Whose loop has ended, nobody can go on with.
        let listener = listener.upgrade().ok_or_else(ended)?;
        let what = if listener.alone { SOCKET } else { SHARED };
        stream.send_with_fds(&[what], &[listener.as_fd()]).await?;
    }
    stream.write_all(&[ALL]).await?;
    // As long as the new one takes; if it ends, so does the stream.
    until_phase(shared, Phase::Stopped, NO_LIMIT, stream.read_exact(&mut word)).await.ok_or_else(ended)??;
    if word != [READY] {
        return Err(protocol("the new process says something else"));
    }
    // If it drains already, for another cause, the queues are the new one's all the same.
    shared.handed_over.store(true, Ordering::SeqCst);
    shared.drain(Cause::HandedOver);
    shared.advance(Phase::Stopped);
    shared.phase_changed.until(|_| when(shared.loops.load(Ordering::Acquire) == 1)).await;
    // It is the owner, whether it hears that or not.
    let _ = stream.write_all(&[YOURS]).await;
    Ok(())
}
