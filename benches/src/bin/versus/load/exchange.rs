//! Connections that live, with messages there and back.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use io_uring::{IoUring, opcode, squeue, types};

use super::{Load, PATIENCE, Slice, Stopwatch, ring, submit_and_wait, wrong};
use crate::histogram::Histogram;
use crate::sys::{self, Epoll};
use crate::{Outcome, message};

/// What is said on each connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// A message of so many bytes, which is to come back.
    Echo(usize),
    /// A small HTTP request.
    Http,
}

impl Exchange {
    /// The request on one of the connections, and its answer.
    fn messages(self, connection: usize) -> (Vec<u8>, Vec<u8>) {
        match self {
            Exchange::Echo(length) => {
                let request = message(length, connection as u64);
                (request.clone(), request)
            }
            Exchange::Http => (crate::REQUEST.to_vec(), crate::HELLO.to_vec()),
        }
    }
}

fn connect(address: SocketAddr, count: usize) -> Outcome<Vec<TcpStream>> {
    let mut streams = Vec::with_capacity(count);
    for _ in 0..count {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        streams.push(stream);
    }
    Ok(streams)
}

struct Connection {
    stream: TcpStream,
    request: Vec<u8>,
    answer: Vec<u8>,
    /// Bytes that the kernel has not taken yet.
    unsent: usize,
    /// Bytes of the next answer that are here.
    got: usize,
    /// When the requests without an answer were sent.
    sent: VecDeque<u64>,
}

impl Connection {
    fn fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }

    /// Sends what is unsent, which is the ends of messages and whole ones: a system call for each.
    fn push(&mut self) -> io::Result<()> {
        while self.unsent > 0 {
            let length = match self.unsent % self.request.len() {
                0 => self.request.len(),
                rest => rest,
            };
            match sys::send(self.stream.as_raw_fd(), &self.request[self.request.len() - length..]) {
                Ok(sent) => self.unsent -= sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// One message for each system call.
pub struct Each {
    address: SocketAddr,
    epoll: Epoll,
    connections: Vec<Connection>,
    buffer: Vec<u8>,
    depth: usize,
}

impl Each {
    /// `depth` requests are under way on each connection.
    pub fn new(address: SocketAddr, what: Exchange, connections: usize, depth: usize) -> Outcome<Each> {
        let epoll = Epoll::new()?;
        let mut all = Vec::with_capacity(connections);
        for (index, stream) in connect(address, connections)?.into_iter().enumerate() {
            epoll.add(stream.as_raw_fd(), sys::READ | sys::WRITE | sys::EDGES, index)?;
            let (request, answer) = what.messages(index);
            all.push(Connection { stream, request, answer, unsent: 0, got: 0, sent: VecDeque::new() });
        }
        Ok(Each { address, epoll, connections: all, buffer: vec![0; 64 << 10], depth })
    }
}

impl Load for Each {
    fn slice(&mut self, duration: Duration) -> Outcome<Slice> {
        let mut latencies = Histogram::default();
        let watch = Stopwatch::start(duration)?;
        let (mut answered, mut open) = (0_u64, 0);
        for connection in &mut self.connections {
            for _ in 0..self.depth {
                connection.sent.push_back(watch.now());
                connection.unsent += connection.request.len();
                connection.push()?;
                open += 1;
            }
        }
        while open > 0 {
            let count = self.epoll.wait(PATIENCE)?;
            if count == 0 {
                return Err(wrong(self.address, "an answer is missing"));
            }
            let mut now = watch.now();
            for event in 0..count {
                let (index, flags) = self.epoll.event(event);
                let connection = &mut self.connections[index];
                if connection.unsent > 0 {
                    connection.push()?;
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
                    let mut bytes = &self.buffer[..read];
                    while !bytes.is_empty() {
                        let expected = &connection.answer[connection.got..];
                        let length = expected.len().min(bytes.len());
                        if bytes[..length] != expected[..length] {
                            return Err(wrong(self.address, "the bytes are others"));
                        }
                        bytes = &bytes[length..];
                        connection.got += length;
                        if connection.got < connection.answer.len() {
                            break;
                        }
                        connection.got = 0;
                        let sent = connection.sent.pop_front();
                        let Some(sent) = sent else { return Err(wrong(self.address, "an answer nobody asked for")) };
                        latencies.record(now.saturating_sub(sent));
                        answered += 1;
                        if watch.is_over(now) {
                            open -= 1;
                        } else {
                            connection.unsent += connection.request.len();
                            connection.push()?;
                            now = watch.now();
                            connection.sent.push_back(now);
                        }
                    }
                    // Less than there was room for: that was all, until the next event.
                    if read < self.buffer.len() {
                        break;
                    }
                }
            }
        }
        watch.stop(answered as f64, latencies)
    }
}

/// Many messages for each system call.
pub struct Bursts {
    address: SocketAddr,
    ring: IoUring,
    connections: Vec<Connection>,
    /// Where answers go: a stretch for each connection.
    buffer: Vec<u8>,
    depth: usize,
}

impl Bursts {
    /// `depth` requests are under way on each connection.
    pub fn new(address: SocketAddr, what: Exchange, connections: usize, depth: usize) -> Outcome<Bursts> {
        let mut all = Vec::with_capacity(connections);
        let mut room = 0;
        for (index, stream) in connect(address, connections)?.into_iter().enumerate() {
            let (request, answer) = what.messages(index);
            room += answer.len();
            all.push(Connection { stream, request, answer, unsent: 0, got: 0, sent: VecDeque::new() });
        }
        let ring = ring(connections * (depth + 1) * 2)?;
        Ok(Bursts { address, ring, connections: all, buffer: vec![0; room], depth })
    }

    /// A request, which reports itself only when it fails.
    #[allow(unsafe_code)]
    fn send(&mut self, index: usize) -> Outcome<()> {
        let connection = &self.connections[index];
        let fd = types::Fd(connection.fd());
        let entry = opcode::Send::new(fd, connection.request.as_ptr(), connection.request.len() as u32)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(u64::MAX);
        // SAFETY: the request is never changed and lives as long as the ring; the same answer is waited for before either goes.
        unsafe { self.ring.submission().push(&entry) }?;
        Ok(())
    }

    #[allow(unsafe_code)]
    fn receive(&mut self, index: usize) -> Outcome<()> {
        let connection = &self.connections[index];
        let length = connection.answer.len();
        let at = &mut self.buffer[index * length..][..length];
        let entry = opcode::Recv::new(types::Fd(connection.fd()), at.as_mut_ptr(), length as u32)
            .flags(libc::MSG_WAITALL)
            .build()
            .user_data(index as u64);
        // SAFETY: this stretch of the buffer is the connection's, and not looked at before the completion.
        unsafe { self.ring.submission().push(&entry) }?;
        Ok(())
    }
}

impl Load for Bursts {
    fn slice(&mut self, duration: Duration) -> Outcome<Slice> {
        let mut latencies = Histogram::default();
        let watch = Stopwatch::start(duration)?;
        let mut answered = 0_u64;
        for index in 0..self.connections.len() {
            for _ in 0..self.depth {
                self.send(index)?;
                self.connections[index].sent.push_back(watch.now());
            }
            self.receive(index)?;
        }
        // Receives under way, one for each connection that still waits for something.
        let mut open = self.connections.len();
        let mut arrived = Vec::new();
        while open > 0 {
            let wanted = (open / 4).max(1);
            submit_and_wait(&self.ring, wanted)?;
            arrived.clear();
            arrived.extend(self.ring.completion().map(|completion| (completion.user_data(), completion.result())));
            let now = watch.now();
            for &(index, result) in &arrived {
                if result < 0 {
                    return Err(io::Error::from_raw_os_error(-result).into());
                }
                let index = index as usize;
                let connection = &mut self.connections[index];
                let length = connection.answer.len();
                if result as usize != length || self.buffer[index * length..][..length] != connection.answer[..] {
                    return Err(wrong(self.address, "the bytes are others"));
                }
                let Some(sent) = connection.sent.pop_front() else {
                    return Err(wrong(self.address, "an answer nobody asked for"));
                };
                latencies.record(now.saturating_sub(sent));
                answered += 1;
                if !watch.is_over(now) {
                    connection.sent.push_back(now);
                    self.send(index)?;
                }
                if self.connections[index].sent.is_empty() {
                    open -= 1;
                } else {
                    self.receive(index)?;
                }
            }
        }
        watch.stop(answered as f64, latencies)
    }
}
