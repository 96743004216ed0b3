//! Bytes without end: from the server, to the server, and from it to clients that read slowly.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use io_uring::{IoUring, opcode, types};

use super::{Load, PATIENCE, Slice, Stopwatch, ring, submit_and_wait, wrong};
use crate::Outcome;
use crate::histogram::Histogram;
use crate::sys::{self, Epoll};

/// Read and written at once.
const CHUNK: usize = 64 << 10;
const MESSAGE: usize = 64;
/// What a slow client reads at once, and how often it does.
const SIP: usize = 8 << 10;
const PAUSE: Duration = Duration::from_millis(1);

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The client reads as fast as it can.
    Download,
    /// The client writes as fast as it can.
    Upload,
    /// The client reads a little of every fourth connection each millisecond, so that the server waits for room all the time.
    Slow,
}

/// What every byte of a connection is.
fn fill(connection: usize) -> u8 {
    connection as u8 ^ 0x5a
}

fn connect(address: SocketAddr, direction: Direction, count: usize) -> Outcome<Vec<TcpStream>> {
    let mut streams = Vec::new();
    for index in 0..count {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        if direction == Direction::Slow {
            sys::set_receive_buffer(stream.as_raw_fd(), 4 * SIP as i32)?;
        }
        let mut message = [0; MESSAGE];
        message[0] = if direction == Direction::Upload { b'>' } else { b'<' };
        message[1] = fill(index);
        if sys::send(stream.as_raw_fd(), &message)? != MESSAGE {
            return Err("a new connection takes no message".into());
        }
        streams.push(stream);
    }
    Ok(streams)
}

/// The first and the last byte stand for the others.
fn is_right(bytes: &[u8], connection: usize) -> bool {
    bytes.first() == Some(&fill(connection)) && bytes.last() == Some(&fill(connection))
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// A chunk for each system call.
pub struct FlowEach {
    address: SocketAddr,
    direction: Direction,
    epoll: Epoll,
    streams: Vec<TcpStream>,
    buffer: Vec<u8>,
    /// Where slow clients go on.
    turn: usize,
}

impl FlowEach {
    pub fn new(address: SocketAddr, direction: Direction, connections: usize) -> Outcome<FlowEach> {
        let epoll = Epoll::new()?;
        let streams = connect(address, direction, connections)?;
        for (index, stream) in streams.iter().enumerate() {
            let events = if direction == Direction::Upload { sys::WRITE } else { sys::READ };
            epoll.add(stream.as_raw_fd(), events, index)?;
        }
        Ok(FlowEach { address, direction, epoll, streams, buffer: vec![0; CHUNK], turn: 0 })
    }

    fn fd(&self, index: usize) -> RawFd {
        self.streams[index].as_raw_fd()
    }

    fn transfer(&mut self, index: usize, length: usize) -> Outcome<usize> {
        let fd = self.fd(index);
        let result = if self.direction == Direction::Upload {
            sys::send(fd, &self.buffer[..length])
        } else {
            sys::recv(fd, &mut self.buffer[..length])
        };
        match result {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error.into()),
            Ok(moved) => {
                if self.direction != Direction::Upload && !is_right(&self.buffer[..moved], index) {
                    return Err(wrong(self.address, "the bytes are others"));
                }
                Ok(moved)
            }
        }
    }
}

impl Load for FlowEach {
    fn slice(&mut self, duration: Duration) -> Outcome<Slice> {
        let watch = Stopwatch::start(duration)?;
        let mut moved = 0;
        // In a slice of some milliseconds it may take longer until the first byte is there.
        while !watch.is_over(watch.now()) || (moved == 0 && watch.now() < PATIENCE.as_nanos() as u64) {
            if self.direction == Direction::Slow {
                for _ in 0..self.streams.len().div_ceil(4) {
                    moved += self.transfer(self.turn, SIP)? as u64;
                    self.turn = (self.turn + 1) % self.streams.len();
                }
                std::thread::sleep(PAUSE);
                continue;
            }
            let count = self.epoll.wait(PATIENCE)?;
            if count == 0 {
                return Err(wrong(self.address, "nothing moves"));
            }
            for event in 0..count {
                let (index, _) = self.epoll.event(event);
                moved += self.transfer(index, CHUNK)? as u64;
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
    turn: usize,
}

impl FlowBursts {
    pub fn new(address: SocketAddr, direction: Direction, connections: usize) -> Outcome<FlowBursts> {
        let streams = connect(address, direction, connections)?;
        let buffers = vec![vec![0; CHUNK]; connections];
        Ok(FlowBursts { address, direction, ring: ring(connections * 2)?, streams, buffers, turn: 0 })
    }

    #[allow(unsafe_code)]
    fn begin(&mut self, index: usize, length: usize) -> Outcome<()> {
        let fd = types::Fd(self.streams[index].as_raw_fd());
        let buffer = self.buffers[index].as_mut_ptr();
        let entry = if self.direction == Direction::Upload {
            opcode::Send::new(fd, buffer, length as u32).flags(libc::MSG_NOSIGNAL).build()
        } else {
            opcode::Recv::new(fd, buffer, length as u32).build()
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
            let bytes = &self.buffers[index][..result as usize];
            if self.direction != Direction::Upload && !is_right(bytes, index) {
                return Err(wrong(self.address, "the bytes are others"));
            }
            moved += result as u64;
            if again {
                self.begin(index, CHUNK)?;
            }
        }
        Ok((arrived.len(), moved))
    }
}

impl Load for FlowBursts {
    fn slice(&mut self, duration: Duration) -> Outcome<Slice> {
        let watch = Stopwatch::start(duration)?;
        let mut moved = 0;
        let mut open = 0;
        if self.direction != Direction::Slow {
            open = self.streams.len();
            for index in 0..open {
                self.begin(index, CHUNK)?;
            }
        }
        loop {
            let is_over = watch.is_over(watch.now());
            if self.direction == Direction::Slow {
                if is_over {
                    break;
                }
                let count = self.streams.len().div_ceil(4);
                for _ in 0..count {
                    self.begin(self.turn, SIP)?;
                    self.turn = (self.turn + 1) % self.streams.len();
                }
                moved += self.end(count, false)?.1;
                std::thread::sleep(PAUSE);
                continue;
            }
            let (ended, bytes) = self.end(1, !is_over)?;
            moved += bytes;
            if is_over {
                open -= ended;
            }
            if open == 0 {
                break;
            }
        }
        watch.stop(mebibytes(moved), Histogram::default())
    }
}
