//! Bytes without end, from the server or to it.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use io_uring::{IoUring, opcode, types};

use super::{Load, PATIENCE, Slice, Stopwatch, ring, submit_and_wait, wrong};
use crate::Outcome;
use crate::histogram::Histogram;
use crate::sys::{self, Epoll};

/// Read and written at once.
const CHUNK: usize = 64 << 10;
const MESSAGE: usize = 64;
/// Of so many reads one copies what has come and looks at it. The others throw it away in the kernel, for the generator is
/// to be cheaper than the server.
const LOOK: u32 = 8;

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The client reads as fast as it can.
    Download,
    /// The client writes as fast as it can.
    Upload,
}

/// What tells a server what it is to be on a connection.
pub fn wish(kind: u8, fill: u8) -> [u8; MESSAGE] {
    let mut message = [0; MESSAGE];
    message[..2].copy_from_slice(&[kind, fill]);
    message
}

/// What every byte of a connection is.
pub fn fill(connection: usize) -> u8 {
    connection as u8 ^ 0x5a
}

fn connect(address: SocketAddr, direction: Direction, count: usize) -> Outcome<Vec<TcpStream>> {
    let mut streams = Vec::new();
    for index in 0..count {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let message = wish(if direction == Direction::Upload { b'>' } else { b'<' }, fill(index));
        if sys::send(stream.as_raw_fd(), &message)? != MESSAGE {
            return Err("a new connection takes no message".into());
        }
        streams.push(stream);
    }
    Ok(streams)
}

/// The first and the last byte stand for the others.
pub fn is_right(bytes: &[u8], connection: usize) -> bool {
    bytes.first() == Some(&fill(connection)) && bytes.last() == Some(&fill(connection))
}

pub fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// A chunk for each system call.
pub struct FlowEach {
    address: SocketAddr,
    direction: Direction,
    epoll: Epoll,
    streams: Vec<TcpStream>,
    buffer: Vec<u8>,
    /// What is sent.
    zeros: OwnedFd,
    reads: u32,
}

impl FlowEach {
    pub fn new(address: SocketAddr, direction: Direction, connections: usize) -> Outcome<FlowEach> {
        let epoll = Epoll::new()?;
        let streams = connect(address, direction, connections)?;
        for (index, stream) in streams.iter().enumerate() {
            stream.set_nonblocking(true)?;
            let events = if direction == Direction::Upload { sys::WRITE } else { sys::READ };
            epoll.add(stream.as_raw_fd(), events, index)?;
        }
        let (buffer, zeros) = (vec![0; CHUNK], sys::zeros(CHUNK)?);
        Ok(FlowEach { address, direction, epoll, streams, buffer, zeros, reads: 0 })
    }

    fn transfer(&mut self, index: usize) -> Outcome<usize> {
        let fd = self.streams[index].as_raw_fd();
        self.reads = self.reads.wrapping_add(1);
        let looks = self.direction == Direction::Download && self.reads.is_multiple_of(LOOK);
        let result = match self.direction {
            Direction::Upload => sys::send_file(fd, self.zeros.as_raw_fd(), CHUNK),
            Direction::Download if looks => sys::recv(fd, &mut self.buffer),
            Direction::Download => sys::skip(fd, CHUNK),
        };
        match result {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error.into()),
            Ok(0) => Err(wrong(self.address, "it closes a connection")),
            Ok(moved) if looks && !is_right(&self.buffer[..moved], index) => {
                Err(wrong(self.address, "the bytes are others"))
            }
            Ok(moved) => Ok(moved),
        }
    }
}

impl Load for FlowEach {
    fn slice(&mut self, duration: Duration) -> Outcome<Slice> {
        let watch = Stopwatch::start(duration)?;
        let mut moved = 0;
        // In a slice of some milliseconds it may take longer until the first byte is there.
        while !watch.is_over(watch.now()) || (moved == 0 && watch.now() < PATIENCE.as_nanos() as u64) {
            let count = self.epoll.wait(PATIENCE)?;
            if count == 0 {
                return Err(wrong(self.address, "nothing moves"));
            }
            for event in 0..count {
                let (index, _) = self.epoll.event(event);
                moved += self.transfer(index)? as u64;
            }
        }
        if moved == 0 {
            return Err(wrong(self.address, "nothing moves"));
        }
        watch.stop(mebibytes(moved), Histogram::default())
    }
}

/// A chunk for every connection with one system call.
pub struct FlowBursts {
    address: SocketAddr,
    direction: Direction,
    ring: IoUring,
    streams: Vec<TcpStream>,
    buffers: Vec<Vec<u8>>,
    /// Whether the bytes that come next on a connection are copied and looked at.
    looks: Vec<bool>,
    reads: u32,
}

impl FlowBursts {
    pub fn new(address: SocketAddr, direction: Direction, connections: usize) -> Outcome<FlowBursts> {
        let streams = connect(address, direction, connections)?;
        let buffers = vec![vec![0; CHUNK]; connections];
        Ok(FlowBursts {
            address,
            direction,
            ring: ring(connections * 2)?,
            streams,
            buffers,
            looks: vec![false; connections],
            reads: 0,
        })
    }

    #[allow(unsafe_code)]
    fn begin(&mut self, index: usize) -> Outcome<()> {
        let fd = types::Fd(self.streams[index].as_raw_fd());
        let buffer = self.buffers[index].as_mut_ptr();
        let entry = if self.direction == Direction::Upload {
            opcode::Send::new(fd, buffer, CHUNK as u32).flags(libc::MSG_NOSIGNAL).build()
        } else {
            self.reads = self.reads.wrapping_add(1);
            self.looks[index] = self.reads.is_multiple_of(LOOK);
            let flags = if self.looks[index] { 0 } else { libc::MSG_TRUNC };
            opcode::Recv::new(fd, buffer, CHUNK as u32).flags(flags).build()
        };
        // SAFETY: the buffer is the connection's, is as long, and is not touched before the completion.
        unsafe { self.ring.submission().push(&entry.user_data(index as u64)) }?;
        Ok(())
    }

    /// Waits for one completion at least, and has those go on of which `again` says so.
    fn end(&mut self, wanted: usize, again: bool) -> Outcome<(usize, u64)> {
        submit_and_wait(&self.ring, wanted)?;
        let arrived: Vec<(u64, i32)> =
            self.ring.completion().map(|completion| (completion.user_data(), completion.result())).collect();
        let mut moved = 0;
        for &(index, result) in &arrived {
            let index = index as usize;
            if result < 0 {
                return Err(io::Error::from_raw_os_error(-result).into());
            }
            if result == 0 {
                return Err(wrong(self.address, "it closes a connection"));
            }
            if self.looks[index] && !is_right(&self.buffers[index][..result as usize], index) {
                return Err(wrong(self.address, "the bytes are others"));
            }
            moved += result as u64;
            if again {
                self.begin(index)?;
            }
        }
        Ok((arrived.len(), moved))
    }
}

impl Load for FlowBursts {
    fn slice(&mut self, duration: Duration) -> Outcome<Slice> {
        let watch = Stopwatch::start(duration)?;
        let mut moved = 0;
        let mut open = self.streams.len();
        for index in 0..open {
            self.begin(index)?;
        }
        while open > 0 {
            let is_over = watch.is_over(watch.now());
            let (ended, bytes) = self.end(1, !is_over)?;
            moved += bytes;
            if is_over {
                open -= ended;
            }
        }
        watch.stop(mebibytes(moved), Histogram::default())
    }
}
