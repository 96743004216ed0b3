//! Connections that live for one request: connect, a message there and back, the end that the server makes, close.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use io_uring::{IoUring, opcode, squeue, types};

use super::{Load, PATIENCE, Slice, Stopwatch, ring, submit_and_wait, wrong};
use crate::histogram::Histogram;
use crate::{Messages, Outcome, sys};

const LENGTH: usize = 64;

/// A system call for each step. The oldest connection is the next that is looked at, for a server takes them in this order:
/// so nobody has to be told of each.
pub struct ChurnEach {
    address: SocketAddr,
    in_flight: usize,
    request: Vec<u8>,
}

struct Begun {
    fd: OwnedFd,
    at: u64,
}

impl ChurnEach {
    /// So many connections are under way.
    pub fn new(address: SocketAddr, in_flight: usize) -> ChurnEach {
        ChurnEach { address, in_flight, request: Messages::new(LENGTH, 1).of(0).to_vec() }
    }

    fn begin(&self, at: u64) -> Outcome<Begun> {
        let fd = sys::connect(self.address)?;
        if sys::send(fd.as_raw_fd(), &self.request)? != LENGTH {
            return Err("a new connection takes no message".into());
        }
        Ok(Begun { fd, at })
    }

    /// What comes next.
    fn read(&self, fd: RawFd, buffer: &mut [u8]) -> Outcome<usize> {
        loop {
            match sys::recv(fd, buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !sys::readable(fd, PATIENCE)? {
                        return Err(wrong(self.address, "an answer or an end is missing"));
                    }
                }
                result => return Ok(result?),
            }
        }
    }

    /// The answer, and the end: that of a connection, for a reset is an error here.
    fn end(&self, begun: &Begun) -> Outcome<()> {
        let mut buffer = [0; LENGTH + 1];
        let mut got = 0;
        while got < LENGTH {
            match self.read(begun.fd.as_raw_fd(), &mut buffer[got..])? {
                0 => return Err(wrong(self.address, "it closes without an answer")),
                read => got += read,
            }
        }
        if buffer[..got] != self.request[..] {
            return Err(wrong(self.address, "the bytes are others"));
        }
        if self.read(begun.fd.as_raw_fd(), &mut buffer)? != 0 {
            return Err(wrong(self.address, "there is more than the answer"));
        }
        Ok(())
    }
}

impl Load for ChurnEach {
    fn slice(&mut self, duration: Duration) -> Outcome<Slice> {
        let mut latencies = Histogram::default();
        let watch = Stopwatch::start(duration)?;
        let mut done = 0_u64;
        let mut open = VecDeque::with_capacity(self.in_flight);
        for _ in 0..self.in_flight {
            open.push_back(self.begin(watch.now())?);
        }
        while let Some(oldest) = open.pop_front() {
            self.end(&oldest)?;
            let now = watch.now();
            latencies.record(now - oldest.at);
            done += 1;
            drop(oldest);
            if !watch.is_over(now) {
                open.push_back(self.begin(now)?);
            }
        }
        watch.stop(done as f64, latencies)
    }
}

/// A chain of the ring for each connection, and many chains for each system call.
pub struct ChurnBursts {
    address: SocketAddr,
    ring: IoUring,
    peer: Box<libc::sockaddr_in>,
    request: Vec<u8>,
    /// For each place: the answer, and a byte that must not come.
    buffer: Vec<u8>,
    begun: Vec<u64>,
}

/// What a completion is of, beside its place.
const ANSWERED: u64 = 1 << 32;
const ENDED: u64 = 2 << 32;
const CLOSED: u64 = 3 << 32;
const BEFORE: u64 = 4 << 32;

impl ChurnBursts {
    /// So many connections are under way.
    pub fn new(address: SocketAddr, in_flight: usize) -> Outcome<ChurnBursts> {
        let ring = ring(in_flight * 8)?;
        ring.submitter().register_files_sparse(in_flight as u32)?;
        Ok(ChurnBursts {
            address,
            ring,
            peer: Box::new(sys::internet(address)?),
            request: Messages::new(LENGTH, 1).of(0).to_vec(),
            buffer: vec![0; in_flight * (LENGTH + 1)],
            begun: vec![0; in_flight],
        })
    }

    #[allow(unsafe_code)]
    fn begin(&mut self, index: usize, now: u64) -> Outcome<()> {
        self.begun[index] = now;
        let place = types::Fixed(index as u32);
        let slot = types::DestinationSlot::try_from_slot_target(index as u32)
            .map_err(|slot| format!("there is no slot {slot}"))?;
        let buffer = &mut self.buffer[index * (LENGTH + 1)..][..LENGTH + 1];
        let end = buffer[LENGTH..].as_mut_ptr();
        let quiet = squeue::Flags::IO_LINK | squeue::Flags::SKIP_SUCCESS;
        let tag = |step: u64| step | index as u64;
        let peer = &raw const *self.peer;
        let entries = [
            opcode::Socket::new(libc::AF_INET, libc::SOCK_STREAM, 0)
                .file_index(Some(slot))
                .build()
                .flags(quiet)
                .user_data(tag(BEFORE)),
            opcode::Connect::new(place, peer.cast(), size_of::<libc::sockaddr_in>() as u32)
                .build()
                .flags(quiet)
                .user_data(tag(BEFORE)),
            opcode::Send::new(place, self.request.as_ptr(), LENGTH as u32)
                .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
                .build()
                .flags(quiet)
                .user_data(tag(BEFORE)),
            opcode::Recv::new(place, buffer.as_mut_ptr(), LENGTH as u32)
                .flags(libc::MSG_WAITALL)
                .build()
                .flags(quiet)
                .user_data(tag(ANSWERED)),
            opcode::Recv::new(place, end, 1).build().flags(squeue::Flags::IO_LINK).user_data(tag(ENDED)),
            opcode::Close::new(place).build().user_data(tag(CLOSED)),
        ];
        // SAFETY: the address, the request and this place's stretch of the buffer live as long as the ring, and are not
        // touched before the chain has ended.
        unsafe { self.ring.submission().push_multiple(&entries) }?;
        Ok(())
    }
}

impl Load for ChurnBursts {
    fn slice(&mut self, duration: Duration) -> Outcome<Slice> {
        let mut latencies = Histogram::default();
        let watch = Stopwatch::start(duration)?;
        let mut done = 0_u64;
        for index in 0..self.begun.len() {
            self.begin(index, watch.now())?;
        }
        let mut open = self.begun.len();
        let mut arrived = Vec::new();
        while open > 0 {
            // Two completions for each connection.
            submit_and_wait(&self.ring, (open / 2).max(1))?;
            arrived.clear();
            arrived.extend(self.ring.completion().map(|completion| (completion.user_data(), completion.result())));
            let now = watch.now();
            for &(tag, result) in &arrived {
                let index = (tag & 0xffff_ffff) as usize;
                let step = tag - index as u64;
                if result < 0 {
                    return Err(io::Error::from_raw_os_error(-result).into());
                }
                if step == ENDED && result > 0 {
                    return Err(wrong(self.address, "there is more than the answer"));
                }
                if step == ENDED && self.buffer[index * (LENGTH + 1)..][..LENGTH] != self.request[..] {
                    return Err(wrong(self.address, "the bytes are others"));
                }
                if step != CLOSED {
                    continue;
                }
                latencies.record(now - self.begun[index]);
                done += 1;
                self.buffer[index * (LENGTH + 1)..][..LENGTH].fill(0);
                if watch.is_over(now) {
                    open -= 1;
                } else {
                    self.begin(index, now)?;
                }
            }
        }
        watch.stop(done as f64, latencies)
    }
}
