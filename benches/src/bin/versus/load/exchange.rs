//! Connections that live, with messages there and back.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use io_uring::{IoUring, cqueue, opcode, squeue, types};

use super::buffers::Buffers;
use super::{Load, PATIENCE, Slice, Stopwatch, ring, wait_for, wrong};
use crate::histogram::Histogram;
use crate::sys::{self, Epoll};
use crate::{Messages, Outcome};

/// What is said on each connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// A message of so many bytes, which is to come back.
    Echo(usize),
    /// A small HTTP request.
    Http,
}

/// The requests of all connections, and their answers.
struct Texts {
    what: Exchange,
    messages: Messages,
}

impl Texts {
    fn new(what: Exchange, connections: usize) -> Texts {
        let length = if let Exchange::Echo(length) = what { length } else { 0 };
        Texts { what, messages: Messages::new(length, connections) }
    }

    #[inline]
    fn request(&self, connection: usize) -> &[u8] {
        if self.what == Exchange::Http { crate::REQUEST } else { self.messages.of(connection) }
    }

    #[inline]
    fn answer(&self, connection: usize) -> &[u8] {
        if self.what == Exchange::Http { crate::HELLO } else { self.messages.of(connection) }
    }
}

struct Connection {
    stream: TcpStream,
    /// Bytes that the kernel has not taken yet.
    unsent: usize,
    /// Bytes of the next answer that are here.
    got: usize,
    /// When the requests without an answer were sent.
    sent: VecDeque<u64>,
}

fn connect(address: SocketAddr, count: usize, depth: usize) -> Outcome<Vec<Connection>> {
    let mut connections = Vec::with_capacity(count);
    for _ in 0..count {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        connections.push(Connection { stream, unsent: 0, got: 0, sent: VecDeque::with_capacity(depth) });
    }
    Ok(connections)
}

impl Connection {
    fn fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }

    /// Sends what is unsent, which is the ends of messages and whole ones: a system call for each.
    #[inline]
    fn push(&mut self, request: &[u8]) -> io::Result<()> {
        while self.unsent > 0 {
            let length = match self.unsent % request.len() {
                0 => request.len(),
                rest => rest,
            };
            match sys::send(self.fd(), &request[request.len() - length..]) {
                Ok(sent) => self.unsent -= sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes bytes that have come. How many answers are whole with them, or none if a byte is another.
    #[inline]
    fn take(&mut self, mut bytes: &[u8], answer: &[u8]) -> Option<usize> {
        let mut whole = 0;
        while !bytes.is_empty() {
            let length = (answer.len() - self.got).min(bytes.len());
            if bytes[..length] != answer[self.got..][..length] {
                return None;
            }
            bytes = &bytes[length..];
            self.got += length;
            if self.got == answer.len() {
                self.got = 0;
                whole += 1;
            }
        }
        Some(whole)
    }
}

/// So many messages share a look at the clock: what that makes a time wrong by is a few calls of `send`.
const SHARE: u64 = 4;
/// Sleeping costs as much as some messages do; a shorter one is not worth it.
const NAP: u64 = 20_000;

/// One message for each system call.
pub struct Each {
    address: SocketAddr,
    epoll: Epoll,
    texts: Texts,
    connections: Vec<Connection>,
    buffer: Vec<u8>,
    depth: usize,
}

impl Each {
    /// `depth` requests are under way on each connection.
    pub fn new(address: SocketAddr, what: Exchange, connections: usize, depth: usize) -> Outcome<Each> {
        let epoll = Epoll::new()?;
        let all = connect(address, connections, depth)?;
        for (index, connection) in all.iter().enumerate() {
            epoll.add(connection.fd(), sys::READ | sys::WRITE | sys::EDGES, index)?;
        }
        let texts = Texts::new(what, connections);
        Ok(Each { address, epoll, texts, connections: all, buffer: vec![0; 64 << 10], depth })
    }

    /// Sleeps until a quarter of the answers should be there. Waiting in epoll for the first of them instead, this thread
    /// would be woken for nearly each, which costs both sides: the generator, and the server that wakes it.
    fn nap(&self, now: u64, answered: u64) {
        let quarter = (self.connections.len() * self.depth / 4) as u64;
        let nap = quarter * now / answered.max(1);
        if quarter > 1 && nap > NAP {
            std::thread::sleep(Duration::from_nanos(nap.min(10 * NAP)));
        }
    }
}

impl Load for Each {
    fn slice(&mut self, duration: Duration) -> Outcome<Slice> {
        let mut latencies = Histogram::default();
        let watch = Stopwatch::start(duration)?;
        let (mut answered, mut open) = (0_u64, 0);
        for (index, connection) in self.connections.iter_mut().enumerate() {
            let request = self.texts.request(index);
            for _ in 0..self.depth {
                connection.sent.push_back(watch.now());
                connection.unsent += request.len();
                connection.push(request)?;
                open += 1;
            }
        }
        let mut now = watch.now();
        while open > 0 {
            let count = self.epoll.wait(PATIENCE)?;
            if count == 0 {
                return Err(wrong(self.address, "an answer is missing"));
            }
            now = watch.now();
            for event in 0..count {
                let (index, flags) = self.epoll.event(event);
                let connection = &mut self.connections[index];
                let request = self.texts.request(index);
                if connection.unsent > 0 {
                    connection.push(request)?;
                }
                if flags & sys::READ == 0 {
                    continue;
                }
                loop {
                    let read = match sys::recv(connection.fd(), &mut self.buffer) {
                        Ok(0) => return Err(wrong(self.address, "it closes a connection")),
                        Ok(read) => read,
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                        Err(error) => return Err(error.into()),
                    };
                    let Some(whole) = connection.take(&self.buffer[..read], self.texts.answer(index)) else {
                        return Err(wrong(self.address, "the bytes are others"));
                    };
                    for _ in 0..whole {
                        let sent = connection.sent.pop_front();
                        let Some(sent) = sent else { return Err(wrong(self.address, "an answer nobody asked for")) };
                        latencies.record(now.saturating_sub(sent));
                        answered += 1;
                        if watch.is_over(now) {
                            open -= 1;
                        } else {
                            connection.unsent += request.len();
                            connection.push(request)?;
                            if answered.is_multiple_of(SHARE) {
                                now = watch.now();
                            }
                            connection.sent.push_back(now);
                        }
                    }
                    // Less than there was room for: that was all, until the next event.
                    if read < self.buffer.len() {
                        break;
                    }
                }
            }
            if open == self.connections.len() * self.depth && count < open / 4 {
                self.nap(now, answered);
            }
        }
        _ = now;
        watch.stop(answered as f64, latencies)
    }
}

/// Many messages for each system call.
pub struct Bursts {
    address: SocketAddr,
    ring: IoUring,
    texts: Texts,
    connections: Vec<Connection>,
    /// Where answers go: whichever is free.
    buffers: Buffers,
    depth: usize,
    is_receiving: bool,
}

/// What a completion is of a request, which says something only when it fails.
const REQUEST: u64 = u64::MAX;

impl Bursts {
    /// `depth` requests are under way on each connection.
    pub fn new(address: SocketAddr, what: Exchange, connections: usize, depth: usize) -> Outcome<Bursts> {
        let all = connect(address, connections, depth)?;
        let texts = Texts::new(what, connections);
        let ring = ring(connections * (depth + 1) * 2)?;
        let fds: Vec<RawFd> = all.iter().map(Connection::fd).collect();
        ring.submitter().register_files(&fds)?;
        let buffers = Buffers::new(&ring, connections, texts.answer(0).len() * depth)?;
        Ok(Bursts { address, ring, texts, connections: all, buffers, depth, is_receiving: false })
    }
}

impl Drop for Bursts {
    fn drop(&mut self) {
        // The kernel still receives; after this it writes into no buffer any more.
        _ = self.ring.submitter().register_sync_cancel(None, types::CancelBuilder::any());
    }
}

fn request(texts: &Texts, index: usize) -> squeue::Entry {
    let request = texts.request(index);
    opcode::Send::new(types::Fixed(index as u32), request.as_ptr(), request.len() as u32)
        .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
        .build()
        .flags(squeue::Flags::SKIP_SUCCESS)
        .user_data(REQUEST)
}

/// All that comes on a connection from now on, with no further request for it.
fn receive(index: usize) -> squeue::Entry {
    opcode::RecvMulti::new(types::Fixed(index as u32), Buffers::GROUP).build().user_data(index as u64)
}

impl Load for Bursts {
    #[allow(unsafe_code)]
    fn slice(&mut self, duration: Duration) -> Outcome<Slice> {
        let mut latencies = Histogram::default();
        let watch = Stopwatch::start(duration)?;
        let mut answered = 0_u64;
        let (submitter, mut entries, mut completions) = self.ring.split();
        for (index, connection) in self.connections.iter_mut().enumerate() {
            if !self.is_receiving {
                // SAFETY: the buffers are registered, and live as long as the ring does.
                unsafe { entries.push(&receive(index)) }?;
            }
            for _ in 0..self.depth {
                // SAFETY: the request is never changed and lives as long as the ring; so below.
                unsafe { entries.push(&request(&self.texts, index)) }?;
                connection.sent.push_back(watch.now());
            }
        }
        self.is_receiving = true;
        let mut open = self.connections.len() * self.depth;
        while open > 0 {
            entries.sync();
            // Several answers to one connection may come as one.
            wait_for(&submitter, (open.min(self.connections.len()) / 4).max(1))?;
            completions.sync();
            let now = watch.now();
            let is_over = watch.is_over(now);
            for completion in &mut completions {
                let (tag, result, flags) = (completion.user_data(), completion.result(), completion.flags());
                let index = tag as usize;
                if tag != REQUEST && !cqueue::more(flags) {
                    // There was no free buffer, or the kernel has its reasons.
                    // SAFETY: as above.
                    unsafe { entries.push(&receive(index)) }?;
                    if result == -libc::ENOBUFS {
                        continue;
                    }
                }
                if result < 0 {
                    return Err(io::Error::from_raw_os_error(-result).into());
                }
                let Some(buffer) = cqueue::buffer_select(flags) else {
                    return Err(wrong(self.address, "it closes a connection"));
                };
                let connection = &mut self.connections[index];
                let bytes = self.buffers.filled(buffer, result as usize);
                let Some(whole) = connection.take(bytes, self.texts.answer(index)) else {
                    return Err(wrong(self.address, "the bytes are others"));
                };
                self.buffers.give_back(buffer);
                for _ in 0..whole {
                    let Some(sent) = connection.sent.pop_front() else {
                        return Err(wrong(self.address, "an answer nobody asked for"));
                    };
                    latencies.record(now.saturating_sub(sent));
                    answered += 1;
                    if is_over {
                        open -= 1;
                    } else {
                        connection.sent.push_back(now);
                        // SAFETY: as above.
                        unsafe { entries.push(&request(&self.texts, index)) }?;
                    }
                }
            }
            self.buffers.publish();
        }
        watch.stop(answered as f64, latencies)
    }
}
