//! What the servers of the comparison share, so that they differ in their runtime alone: how they are told what to
//! serve, the listener with its options, and what an answer is.
//!
//! A server gets `key=value` arguments, prints its address, and ends when its standard input does.
#![deny(unsafe_code)]

mod sys;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// The same for all.
const BACKLOG: i32 = 4096;
/// Of every message in the workloads [`Service::Work`] and [`Service::Flow`].
pub const MESSAGE: usize = 64;
/// The buffer of a connection that has nothing to do.
pub const SMALL: usize = 64;
/// What [`Service::Flow`] reads and writes with one call.
pub const CHUNK: usize = 64 << 10;
/// The answer of [`Service::Http`].
pub const HELLO: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 13\r\n\r\nHello, world!";

/// What is done with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Sends back what comes.
    Echo,
    /// The same, with [`SMALL`] bytes of buffer inside the task.
    Idle,
    /// Sends back what comes first, and closes.
    Once,
    /// Answers each head of an HTTP request with [`HELLO`].
    Http,
    /// Computes or sleeps as a [`MESSAGE`] says, and sends it back.
    Work,
    /// After one [`MESSAGE`], what its [`Role`] is.
    Flow,
}

/// What a server is on a connection of [`Service::Flow`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Sends for ever.
    Source,
    /// Reads for ever.
    Sink,
    /// Sends each [`MESSAGE`] back.
    Mirror,
}

/// What a server is told.
#[derive(Clone, Debug)]
pub struct Arguments {
    /// What to serve.
    pub service: Service,
    /// Which of its runtimes.
    pub flavor: String,
    /// Which of its system calls.
    pub backend: String,
    /// Threads that serve.
    pub workers: usize,
    /// Bytes that one connection reads at once.
    pub buffer: usize,
    /// Bounds what the kernel takes and has not sent yet (`SO_SNDBUF`, socket(7)); 0 for what the kernel chooses.
    pub send_buffer: usize,
}

impl Arguments {
    /// From the command line.
    ///
    /// # Panics
    /// If there is something in it that is not an argument.
    #[must_use]
    pub fn parse() -> Arguments {
        let mut arguments = Arguments {
            service: Service::Echo,
            flavor: String::new(),
            backend: String::new(),
            workers: 1,
            buffer: 4096,
            send_buffer: 0,
        };
        for argument in std::env::args().skip(1) {
            let (key, value) = argument.split_once('=').expect("arguments are key=value");
            match key {
                "service" => {
                    arguments.service = match value {
                        "echo" => Service::Echo,
                        "idle" => Service::Idle,
                        "once" => Service::Once,
                        "http" => Service::Http,
                        "work" => Service::Work,
                        "flow" => Service::Flow,
                        _ => panic!("there is no service {value}"),
                    };
                }
                "flavor" => value.clone_into(&mut arguments.flavor),
                "backend" => value.clone_into(&mut arguments.backend),
                "workers" => arguments.workers = value.parse().expect("a number of workers"),
                "buffer" => arguments.buffer = value.parse().expect("a number of bytes"),
                "send_buffer" => arguments.send_buffer = value.parse().expect("a number of bytes"),
                _ => panic!("there is no argument {key}"),
            }
        }
        arguments
    }
}

/// A non-blocking listener on loopback. Accepted connections inherit `TCP_NODELAY` (tcp(7)) and `SO_SNDBUF` from it, so
/// nobody pays a call for them.
///
/// # Errors
/// Those of the kernel.
pub fn listener(arguments: &Arguments) -> io::Result<TcpListener> {
    listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), arguments, false)
}

/// One listener for each worker, all with the same address: the kernel deals connections out to them (`SO_REUSEPORT`,
/// socket(7)).
///
/// # Errors
/// Those of the kernel.
pub fn listeners(arguments: &Arguments) -> io::Result<Vec<TcpListener>> {
    let first = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), arguments, true)?;
    let address = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..arguments.workers {
        listeners.push(listen(address, arguments, true)?);
    }
    Ok(listeners)
}

fn listen(address: SocketAddr, arguments: &Arguments, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    if arguments.send_buffer > 0 {
        socket.set_send_buffer_size(arguments.send_buffer)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Tells the address, and has the process end when its standard input does. There is no thread for that: with a second one,
/// the kernel counts the users of a descriptor in each call, and libc's calls can be cancelled, which is some 40 ns for a
/// `recv` or `send` that a runtime of one thread would not pay.
///
/// # Errors
/// If the listener has no address. Where standard input is a file, or none, the process ends at once.
pub fn announce(listener: &TcpListener) -> io::Result<()> {
    if sys::end_with_input()? {
        std::process::exit(0);
    }
    println!("{}", listener.local_addr()?);
    Ok(())
}

/// The length of the HTTP request at the start of `bytes`, if its head is whole. Requests have no body.
#[must_use]
pub fn request_length(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

/// Reads requests out of pieces of them: how many there are whole, and what is left of the next.
#[derive(Debug, Default)]
pub struct Requests {
    left: Vec<u8>,
}

impl Requests {
    /// How many requests are whole with these bytes, which came last.
    pub fn count(&mut self, bytes: &[u8]) -> usize {
        // A request that came at once, which is nearly every one, is not copied.
        if self.left.is_empty() {
            let (count, used) = whole(bytes);
            if used < bytes.len() {
                self.left.extend_from_slice(&bytes[used..]);
            }
            count
        } else {
            self.left.extend_from_slice(bytes);
            let (count, used) = whole(&self.left);
            self.left.drain(..used);
            count
        }
    }
}

/// How many whole requests there are at the start of `bytes`, and their length.
#[must_use]
pub fn whole(bytes: &[u8]) -> (usize, usize) {
    let (mut count, mut used) = (0, 0);
    while let Some(length) = request_length(&bytes[used..]) {
        count += 1;
        used += length;
    }
    (count, used)
}

/// Does what a message of [`Service::Work`] says: its first byte is 1 for computing, with a number of steps, and 2 for
/// sleeping, with milliseconds; the number is in the eight bytes from the ninth on, least significant first. What was
/// computed goes where the eight bytes from the seventeenth on are, in place of the number that it began with.
pub fn work(message: &mut [u8; MESSAGE]) {
    let number = number(message, 8);
    match message[0] {
        1 => {
            let result = compute(number, self::number(message, 16));
            message[16..24].copy_from_slice(&result.to_le_bytes());
        }
        2 => std::thread::sleep(Duration::from_millis(number)),
        _ => {}
    }
}

fn number(message: &[u8; MESSAGE], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&message[at..at + 8]);
    u64::from_le_bytes(bytes)
}

/// So many steps of a computation that no compiler shortens, for each step needs the one before (Marsaglia's xorshift).
#[must_use]
pub fn compute(steps: u64, seed: u64) -> u64 {
    let mut state = seed | 1;
    for _ in 0..steps {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
    }
    state
}

/// What the client of [`Service::Flow`] wants.
#[must_use]
pub fn role(message: &[u8; MESSAGE]) -> Role {
    match message[0] {
        b'<' => Role::Source,
        b'=' => Role::Mirror,
        _ => Role::Sink,
    }
}

/// The services of a runtime whose streams have `read`, `read_exact` and `write_all`: functions of the same text for each,
/// so that nothing differs but what a stream is.
#[macro_export]
macro_rules! services {
    ($Stream:ty) => {
        async fn echo(#[allow(unused_mut)] mut stream: $Stream, buffer: usize) -> ::std::io::Result<()> {
            let mut buffer = vec![0; buffer];
            while let length @ 1.. = stream.read(&mut buffer).await? {
                stream.write_all(&buffer[..length]).await?;
            }
            Ok(())
        }

        async fn idle(#[allow(unused_mut)] mut stream: $Stream) -> ::std::io::Result<()> {
            let mut buffer = [0; $crate::SMALL];
            while let length @ 1.. = stream.read(&mut buffer).await? {
                stream.write_all(&buffer[..length]).await?;
            }
            Ok(())
        }

        async fn once(#[allow(unused_mut)] mut stream: $Stream, buffer: usize) -> ::std::io::Result<()> {
            let mut buffer = vec![0; buffer];
            let length = stream.read(&mut buffer).await?;
            stream.write_all(&buffer[..length]).await?;
            Ok(())
        }

        async fn http(#[allow(unused_mut)] mut stream: $Stream, buffer: usize) -> ::std::io::Result<()> {
            let mut buffer = vec![0; buffer];
            let mut requests = $crate::Requests::default();
            while let length @ 1.. = stream.read(&mut buffer).await? {
                for _ in 0..requests.count(&buffer[..length]) {
                    stream.write_all($crate::HELLO).await?;
                }
            }
            Ok(())
        }

        async fn working(#[allow(unused_mut)] mut stream: $Stream) -> ::std::io::Result<()> {
            let mut message = [0; $crate::MESSAGE];
            loop {
                stream.read_exact(&mut message).await?;
                $crate::work(&mut message);
                stream.write_all(&message).await?;
            }
        }

        async fn flow(#[allow(unused_mut)] mut stream: $Stream) -> ::std::io::Result<()> {
            let mut message = [0; $crate::MESSAGE];
            stream.read_exact(&mut message).await?;
            match $crate::role(&message) {
                $crate::Role::Source => {
                    let chunk = vec![message[1]; $crate::CHUNK];
                    loop {
                        stream.write_all(&chunk).await?;
                    }
                }
                $crate::Role::Sink => {
                    let mut chunk = vec![0; $crate::CHUNK];
                    while stream.read(&mut chunk).await? > 0 {}
                    Ok(())
                }
                $crate::Role::Mirror => loop {
                    stream.write_all(&message).await?;
                    stream.read_exact(&mut message).await?;
                },
            }
        }
    };
}

/// Starts the task of a new connection: a future for each service, each with no more in it than it needs.
#[macro_export]
macro_rules! start {
    ($spawn:expr, $service:expr, $stream:expr, $buffer:expr) => {
        match $service {
            $crate::Service::Echo => _ = $spawn(echo($stream, $buffer)),
            $crate::Service::Idle => _ = $spawn(idle($stream)),
            $crate::Service::Once => _ = $spawn(once($stream, $buffer)),
            $crate::Service::Http => _ = $spawn(http($stream, $buffer)),
            $crate::Service::Work => _ = $spawn(working($stream)),
            $crate::Service::Flow => _ = $spawn(flow($stream)),
        }
    };
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    use super::*;

    /// The test is its own child, too, which says what it found and waits.
    #[test]
    fn a_server_does_not_outlive_its_input() {
        const CHILD: &str = "VERSUS_CHILD";
        if std::env::var_os(CHILD).is_some() {
            let had_ended = sys::end_with_input().unwrap();
            eprintln!("had ended: {had_ended}");
            std::thread::sleep(Duration::from_secs(if had_ended { 0 } else { 30 }));
            std::process::exit(0);
        }
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "tests::a_server_does_not_outlive_its_input", "--nocapture"]).env(CHILD, "1");
        command.stdout(Stdio::null()).stderr(Stdio::piped());

        let mut early = command.stdin(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(early.stderr.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!((line.trim(), early.wait().unwrap().code()), ("had ended: true", Some(0)));

        let mut late = command.stdin(Stdio::piped()).spawn().unwrap();
        line.clear();
        BufReader::new(late.stderr.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "had ended: false");
        drop(late.stdin.take());
        assert_eq!(late.wait().unwrap().signal(), Some(libc::SIGIO));
    }

    #[test]
    fn an_answer_shows_that_all_steps_were_done() {
        let mut message = [0; MESSAGE];
        message[0] = 1;
        message[8] = 3;
        message[16] = 5;
        work(&mut message);
        let step = |mut state: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^ (state << 17)
        };
        assert_eq!(number(&message, 16), step(step(step(5))));
        assert_eq!((message[0], number(&message, 8)), (1, 3));
    }

    #[test]
    fn requests_are_counted_whatever_pieces_they_come_in() {
        let bytes = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".repeat(3);
        for piece in 1..bytes.len() {
            let mut requests = Requests::default();
            assert_eq!(bytes.chunks(piece).map(|part| requests.count(part)).sum::<usize>(), 3, "pieces of {piece}");
        }
    }
}
