//! The limit: what the comparison's servers could cost if there were no runtime at all. A loop over epoll and the system
//! calls of one connection, one buffer for all of them, and no state for a connection that has none.
//!
//! With several workers there are as many loops; the first accepts and deals connections out in turn.
#![deny(unsafe_code)]

mod sys;

use std::collections::HashMap;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, RawFd};
use std::thread;

use versus_common::{Arguments, CHUNK, HELLO, MESSAGE, Role, SMALL, Service, announce, role, whole, work};

/// Taken from one wait.
const EVENTS: usize = 256;
/// What the listener's event carries; that of a connection carries its descriptor.
const LISTENER: u64 = 1 << 32;

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let listener = versus_common::listener(&arguments)?;
    let mut epolls = Vec::new();
    for _ in 0..arguments.workers {
        epolls.push(sys::epoll()?);
    }
    sys::add(epolls[0], listener.as_raw_fd(), sys::LEVEL, LISTENER)?;
    announce(&listener)?;
    for &epoll in &epolls[1..] {
        let arguments = arguments.clone();
        thread::spawn(move || Loop::new(epoll, &arguments).run());
    }
    let mut first = Loop::new(epolls[0], &arguments);
    first.deals = Some(Deals { listener, epolls, next: 0 });
    first.run()
}

/// The work of the loop that accepts.
struct Deals {
    listener: TcpListener,
    epolls: Vec<RawFd>,
    next: usize,
}

struct Loop {
    epoll: RawFd,
    service: Service,
    buffer: Vec<u8>,
    /// What could not be sent, or of which there is more to come: few connections, most of the time.
    behind: HashMap<RawFd, Vec<u8>>,
    deals: Option<Deals>,
}

impl Loop {
    fn new(epoll: RawFd, arguments: &Arguments) -> Loop {
        let size = match arguments.service {
            Service::Idle => SMALL,
            Service::Flow => CHUNK,
            _ => arguments.buffer,
        };
        Loop { epoll, service: arguments.service, buffer: vec![0; size], behind: HashMap::new(), deals: None }
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = [sys::NO_EVENT; EVENTS];
        loop {
            let count = sys::wait(self.epoll, &mut events);
            for event in &events[..count] {
                match event.u64 {
                    LISTENER => self.accept()?,
                    fd => _ = self.ready(fd as RawFd),
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        while let Some(deals) = &mut self.deals {
            let fd = sys::accept(deals.listener.as_raw_fd());
            if fd < 0 {
                break;
            }
            let epoll = deals.epolls[deals.next];
            deals.next = (deals.next + 1) % deals.epolls.len();
            // The request of a connection may be there already, and then this is all that there is to it.
            if self.service == Service::Once && !self.once(fd) {
                continue;
            }
            sys::add(epoll, fd, sys::EDGES, fd as u64)?;
        }
        Ok(())
    }

    /// Does what there is to do for a connection. False if it is closed by now.
    #[inline]
    fn ready(&mut self, fd: RawFd) -> bool {
        match self.service {
            Service::Echo | Service::Idle => self.echo(fd),
            Service::Once => self.once(fd),
            Service::Http => self.http(fd),
            Service::Work => self.work(fd),
            Service::Flow => self.flow(fd),
        }
    }

    #[inline]
    fn echo(&mut self, fd: RawFd) -> bool {
        if !self.behind.is_empty() && !self.catch_up(fd) {
            return true;
        }
        loop {
            let read = sys::recv(fd, &mut self.buffer);
            if read <= 0 {
                return self.ended(fd, read);
            }
            let bytes = &self.buffer[..read as usize];
            let sent = sys::send(fd, bytes);
            if sent != read {
                if sent < 0 && !sys::would_block() {
                    return self.ended(fd, 0);
                }
                self.behind.insert(fd, bytes[sent.max(0) as usize..].to_vec());
                self.catch_up(fd);
                return true;
            }
            // Less than there was room for: that was all.
            if (read as usize) < self.buffer.len() {
                return true;
            }
        }
    }

    /// Sends what is left. Whether all of it is gone; if not, an event says when there is room again.
    #[cold]
    fn catch_up(&mut self, fd: RawFd) -> bool {
        let Some(left) = self.behind.get_mut(&fd) else { return true };
        while !left.is_empty() {
            let sent = sys::send(fd, left);
            if sent < 0 {
                if !sys::would_block() {
                    self.ended(fd, 0);
                }
                return false;
            }
            left.drain(..sent as usize);
        }
        self.behind.remove(&fd);
        true
    }

    /// After a read that gave nothing. Whether the connection lives on.
    #[cold]
    fn ended(&mut self, fd: RawFd, read: isize) -> bool {
        if read < 0 && sys::would_block() {
            return true;
        }
        self.behind.remove(&fd);
        sys::close(fd);
        false
    }

    fn once(&mut self, fd: RawFd) -> bool {
        let read = sys::recv(fd, &mut self.buffer);
        if read > 0 {
            // A new connection has room for a short answer.
            sys::send(fd, &self.buffer[..read as usize]);
            sys::close(fd);
            return false;
        }
        self.ended(fd, read)
    }

    fn http(&mut self, fd: RawFd) -> bool {
        loop {
            let read = sys::recv(fd, &mut self.buffer);
            if read <= 0 {
                return self.ended(fd, read);
            }
            let bytes = &self.buffer[..read as usize];
            let before = if self.behind.is_empty() { None } else { self.behind.remove(&fd) };
            let requests = match before {
                None => {
                    let (requests, used) = whole(bytes);
                    if used < bytes.len() {
                        self.behind.insert(fd, bytes[used..].to_vec());
                    }
                    requests
                }
                Some(mut before) => {
                    before.extend_from_slice(bytes);
                    let (requests, used) = whole(&before);
                    before.drain(..used);
                    if !before.is_empty() {
                        self.behind.insert(fd, before);
                    }
                    requests
                }
            };
            for _ in 0..requests {
                if sys::send(fd, HELLO) != HELLO.len() as isize {
                    // Who sends requests without reading answers is let go.
                    return self.ended(fd, 0);
                }
            }
            if (read as usize) < self.buffer.len() {
                return true;
            }
        }
    }

    fn work(&mut self, fd: RawFd) -> bool {
        loop {
            let read = sys::recv(fd, &mut self.buffer);
            if read <= 0 {
                return self.ended(fd, read);
            }
            let mut bytes = self.behind.remove(&fd).unwrap_or_default();
            bytes.extend_from_slice(&self.buffer[..read as usize]);
            let (messages, rest) = bytes.as_chunks_mut::<MESSAGE>();
            for message in messages {
                work(message);
                if sys::send(fd, message) != MESSAGE as isize {
                    return self.ended(fd, 0);
                }
            }
            if !rest.is_empty() {
                self.behind.insert(fd, rest.to_vec());
            }
            if (read as usize) < self.buffer.len() {
                return true;
            }
        }
    }

    /// Who is sent something for ever is always behind.
    fn flow(&mut self, fd: RawFd) -> bool {
        if let Some(chunk) = self.behind.get(&fd) {
            while sys::send(fd, chunk) >= 0 {}
            return sys::would_block() || self.ended(fd, 0);
        }
        loop {
            let read = sys::recv(fd, &mut self.buffer);
            if read <= 0 {
                return self.ended(fd, read);
            }
            if let Some(message) = self.buffer[..read as usize].first_chunk::<MESSAGE>() {
                match role(message) {
                    Role::Source => {
                        let chunk = vec![message[1]; self.buffer.len()];
                        self.behind.insert(fd, chunk);
                        return self.flow(fd);
                    }
                    // Who is to be a mirror waits for the answer before it sends the next message.
                    Role::Mirror if sys::send(fd, message) != MESSAGE as isize => return self.ended(fd, 0),
                    Role::Mirror | Role::Sink => {}
                }
            }
            if (read as usize) < self.buffer.len() {
                return true;
            }
        }
    }
}
