//! Clients that read slowly, and a few beside them that do not.
//!
//! The server sends for ever to each slow one, and has a small send buffer: it is stopped there nearly all the time, and
//! goes on when a client has read a little. What is measured is what that costs, and whether the others wait for it.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use io_uring::{IoUring, opcode, types};

use super::flow::{fill, is_right, mebibytes, wish};
use super::{Load, PATIENCE, Sending, Slice, Stopwatch, ring, submit_and_wait, wrong};
use crate::histogram::Histogram;
use crate::sys::{self, Epoll};
use crate::{Messages, Outcome};

const MESSAGE: usize = 64;
/// What a slow client reads at once.
const SIP: usize = 4 << 10;
/// Every so often a quarter of them reads, and each of the others asks.
const TICK: Duration = Duration::from_millis(1);
/// What arrives at a slow client before it reads.
const ROOM: i32 = 4 * SIP as i32;
/// The others.
const QUICK: usize = 4;

struct Quick {
    stream: TcpStream,
    /// When the request was sent that has no answer yet.
    asked: Option<u64>,
    got: usize,
}

pub struct Slow {
    address: SocketAddr,
    epoll: Epoll,
    sips: Sips,
    slow: Vec<OwnedFd>,
    turn: usize,
    quick: Vec<Quick>,
    messages: Messages,
    buffers: Vec<[u8; SIP]>,
}

enum Sips {
    /// A system call for each.
    Each,
    /// One for all of a tick.
    Bursts(Box<IoUring>),
}

impl Slow {
    pub fn new(address: SocketAddr, sending: Sending, connections: usize) -> Outcome<Slow> {
        let epoll = Epoll::new()?;
        let mut slow = Vec::new();
        for index in 0..connections {
            let fd = sys::connect_with_little_room(address, ROOM)?;
            say(fd.as_raw_fd(), &wish(b'<', fill(index)))?;
            slow.push(fd);
        }
        let messages = Messages::new(MESSAGE, QUICK);
        let mut quick = Vec::new();
        for index in 0..QUICK {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            epoll.add(stream.as_raw_fd(), sys::READ, index)?;
            quick.push(Quick { stream, asked: None, got: 0 });
        }
        let sips = match sending {
            Sending::Each => Sips::Each,
            Sending::Bursts => Sips::Bursts(Box::new(ring(connections)?)),
        };
        Ok(Slow { address, epoll, sips, slow, turn: 0, quick, messages, buffers: vec![[0; SIP]; connections] })
    }

    /// A quarter of the slow clients reads what is there, a little at most. How many bytes that were.
    fn sip(&mut self) -> Outcome<u64> {
        let (all, count) = (self.slow.len(), self.slow.len().div_ceil(4));
        let turns: Vec<usize> = (self.turn..self.turn + count).map(|turn| turn % all).collect();
        self.turn = (self.turn + count) % all;
        let results: Vec<(usize, io::Result<usize>)> = match &mut self.sips {
            Sips::Each => {
                let sip = |&index: &usize| (index, sys::recv(self.slow[index].as_raw_fd(), &mut self.buffers[index]));
                turns.iter().map(sip).collect()
            }
            Sips::Bursts(ring) => sips(ring, &turns, &self.slow, &mut self.buffers)?,
        };
        results.into_iter().try_fold(0, |moved, (index, result)| Ok(moved + self.taken(index, result)?))
    }

    fn taken(&self, index: usize, result: io::Result<usize>) -> Outcome<u64> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error.into()),
            Ok(0) => Err(wrong(self.address, "it closes a connection")),
            Ok(read) if !is_right(&self.buffers[index][..read], index) => {
                Err(wrong(self.address, "the bytes are others"))
            }
            Ok(read) => Ok(read as u64),
        }
    }

    /// Each of the others asks that has its answer.
    fn ask(&mut self, watch: &Stopwatch) -> Outcome<()> {
        for (index, quick) in self.quick.iter_mut().enumerate() {
            if quick.asked.is_none() {
                quick.asked = Some(watch.now());
                say(quick.stream.as_raw_fd(), &question(&self.messages, index))?;
            }
        }
        Ok(())
    }

    /// Takes the answers that come until then.
    fn answers(&mut self, watch: &Stopwatch, until: u64, latencies: &mut Histogram) -> Outcome<()> {
        loop {
            let count = self.epoll.wait(Duration::from_nanos(until.saturating_sub(watch.now())))?;
            let now = watch.now();
            for event in 0..count {
                let (index, _) = self.epoll.event(event);
                let quick = &mut self.quick[index];
                let mut buffer = [0; MESSAGE];
                let read = sys::recv(quick.stream.as_raw_fd(), &mut buffer[..MESSAGE - quick.got])?;
                let expected = &question(&self.messages, index)[quick.got..][..read];
                let (Some(asked), true) = (quick.asked, read > 0 && buffer[..read] == *expected) else {
                    return Err(wrong(self.address, "the bytes are others"));
                };
                quick.got += read;
                if quick.got == MESSAGE {
                    latencies.record(now.saturating_sub(asked));
                    (quick.got, quick.asked) = (0, None);
                }
            }
            if now >= until {
                return Ok(());
            }
        }
    }
}

fn say(fd: RawFd, message: &[u8]) -> Outcome<()> {
    if sys::send(fd, message)? == message.len() { Ok(()) } else { Err("there is no room for a message".into()) }
}

/// What is to come back.
fn question(messages: &Messages, index: usize) -> [u8; MESSAGE] {
    let mut question = wish(b'=', 0);
    question[1..].copy_from_slice(&messages.of(index)[1..]);
    question
}

/// Reads of all these with one system call, none of which waits.
#[allow(unsafe_code)]
fn sips(
    ring: &mut IoUring,
    turns: &[usize],
    slow: &[OwnedFd],
    buffers: &mut [[u8; SIP]],
) -> Outcome<Vec<(usize, io::Result<usize>)>> {
    for &index in turns {
        let fd = types::Fd(slow[index].as_raw_fd());
        let entry = opcode::Recv::new(fd, buffers[index].as_mut_ptr(), SIP as u32)
            .flags(libc::MSG_DONTWAIT)
            .build()
            .user_data(index as u64);
        // SAFETY: the buffer is the connection's, is as long, and its completion is waited for below.
        unsafe { ring.submission().push(&entry) }?;
    }
    submit_and_wait(ring, turns.len())?;
    let result =
        |result: i32| if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(result as usize) };
    Ok(ring.completion().map(|completion| (completion.user_data() as usize, result(completion.result()))).collect())
}

impl Load for Slow {
    fn slice(&mut self, duration: Duration) -> Outcome<Slice> {
        let mut latencies = Histogram::default();
        let watch = Stopwatch::start(duration)?;
        let (mut moved, mut tick) = (0, 0);
        // In a slice of some milliseconds it may take longer until the first byte is there.
        while !watch.is_over(tick) || (moved == 0 && tick < PATIENCE.as_nanos() as u64) {
            moved += self.sip()?;
            self.ask(&watch)?;
            tick = (tick + TICK.as_nanos() as u64).max(watch.now());
            self.answers(&watch, tick, &mut latencies)?;
        }
        if moved == 0 {
            return Err(wrong(self.address, "nothing moves"));
        }
        while self.quick.iter().any(|quick| quick.asked.is_some()) {
            if watch.now() > tick + PATIENCE.as_nanos() as u64 {
                return Err(wrong(self.address, "an answer is missing"));
            }
            self.answers(&watch, watch.now() + TICK.as_nanos() as u64, &mut latencies)?;
        }
        watch.stop(mebibytes(moved), latencies)
    }
}
