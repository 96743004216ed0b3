//! Connections that live for one request: connect, a message there and back, the end that the server makes, close.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use io_uring::{IoUring, opcode, squeue, types};

use super::{Load, PATIENCE, Slice, Stopwatch, ring, submit_and_wait, wrong};
use crate::histogram::Histogram;
use crate::sys::{self, Epoll};
use crate::{Outcome, message};

const LENGTH: usize = 64;

/// A system call for each step.
pub struct ChurnEach {
    address: SocketAddr,
    epoll: Epoll,
    places: Vec<Option<Place>>,
    request: Vec<u8>,
}

struct Place {
    fd: OwnedFd,
    begun: u64,
    got: usize,
}

impl ChurnEach {
    /// So many connections are under way.
    pub fn new(address: SocketAddr, in_flight: usize) -> Outcome<ChurnEach> {
        let places = (0..in_flight).map(|_| None).collect();
        Ok(ChurnEach { address, epoll: Epoll::new()?, places, request: message(LENGTH, 0) })
    }

    fn begin(&mut self, index: usize, now: u64) -> Outcome<()> {
        let fd = sys::connect(self.address)?;
        if sys::send(fd.as_raw_fd(), &self.request)? != LENGTH {
            return Err("a new connection takes no message".into());
        }
        self.epoll.add(fd.as_raw_fd(), sys::READ | sys::EDGES, index)?;
        self.places[index] = Some(Place { fd, begun: now, got: 0 });
        Ok(())
    }
}

impl Load for ChurnEach {
    fn slice(&mut self, duration: Duration) -> Outcome<Slice> {
        let mut latencies = Histogram::default();
        let mut buffer = [0; LENGTH + 1];
        let watch = Stopwatch::start(duration)?;
        let mut done = 0_u64;
        for index in 0..self.places.len() {
            self.begin(index, watch.now())?;
        }
        let mut open = self.places.len();
        while open > 0 {
            let count = self.epoll.wait(PATIENCE)?;
            if count == 0 {
                return Err(wrong(self.address, "an answer or an end is missing"));
            }
            for event in 0..count {
                let (index, flags) = self.epoll.event(event);
                // Closed earlier in this batch: there is no event for what is closed, so this one is the place's next.
                let Some(place) = &mut self.places[index] else { continue };
                if place.got < LENGTH {
                    match sys::recv(place.fd.as_raw_fd(), &mut buffer) {
                        Ok(0) => return Err(wrong(self.address, "it closes without an answer")),
                        Ok(read) => {
                            if self.request.get(place.got..place.got + read) != Some(&buffer[..read]) {
                                return Err(wrong(self.address, "the bytes are others"));
                            }
                            place.got += read;
                        }
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                // With the end reported and the answer here, nothing else can come.
                if flags & sys::CLOSED == 0 || place.got < LENGTH {
                    continue;
                }
                let now = watch.now();
                latencies.record(now - place.begun);
                done += 1;
                self.places[index] = None;
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
            request: message(LENGTH, 0),
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
