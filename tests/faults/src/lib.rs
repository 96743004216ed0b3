//! Conversations over TCP, UDP and Unix sockets that check every byte, and what a process holds.

use std::fs;
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr as UnixAddr;

use bourn_net::unix::pipe;
use bourn_net::{RecvBatch, TcpListener, TcpStream, UdpSocket, UnixListener, UnixStream, copy_bidirectional};
use futures_lite::future::{or, try_zip, zip};
use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt};

#[cfg(not(bourn_faults))]
compile_error!("build this with RUSTFLAGS=\"--cfg bourn_faults\", as .ci/run faults does");

/// How many clients talk at once.
const CLIENTS: u64 = 3;
/// How often a client may begin again.
const ATTEMPTS: usize = 200;

/// What may become of one conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Every conversation succeeds at once.
    Success,
    /// Calls fail with errors that are the user's to see: a client begins again
    /// until it succeeds.
    Errors,
    /// As `Errors`, but nobody begins again.
    AnyEnd,
}

/// Runs echoes, a proxy and requests beside each other, then the others.
pub async fn converse(expected: Expected, seed: u64) {
    let conversations = [
        boxed(serve(expected, seed, echo_client, echo)),
        boxed(proxied(expected, seed)),
        boxed(serve(expected, seed, request_client, answer)),
    ];
    join_all(conversations).await;
    until_done(expected, async || unix(seed).await).await;
    until_done(expected, async || piped(seed).await).await;
    until_done(expected, async || from_file(seed).await).await;
    // Whose errors are judged already.
    drop(datagrams(expected, seed).await);
    refused(expected).await;
}

/// Has a conversation, and again until it succeeds; or once, where nobody begins again.
async fn until_done(expected: Expected, conversation: impl AsyncFn() -> io::Result<()>) {
    for _ in 0..ATTEMPTS {
        match conversation().await {
            Ok(()) => return,
            Err(error) => judge(expected, &error),
        }
        if expected == Expected::AnyEnd {
            return;
        }
    }
    panic!("none of {ATTEMPTS} attempts succeeded");
}

/// Tries `operation` until it succeeds, for an error has neither sent nor taken
/// anything; or once, where nobody begins again.
async fn again<R>(expected: Expected, mut operation: impl AsyncFnMut() -> io::Result<R>) -> io::Result<R> {
    loop {
        match operation().await {
            Err(error) if expected == Expected::AnyEnd => return Err(error),
            Err(error) => judge(expected, &error),
            result => return result,
        }
    }
}

/// A connect that fails at once says so, whatever else befalls it.
async fn refused(expected: Expected) {
    // An address of its own, at which nothing here listens.
    let addr = SocketAddr::from(([127, 0, 0, 78], 9));
    let error = TcpStream::connect(addr).await.expect_err("nobody listens");
    if error.raw_os_error() != Some(libc::ECONNREFUSED) {
        judge(expected, &error);
    }
}

fn boxed<'a>(future: impl Future<Output = ()> + 'a) -> std::pin::Pin<Box<dyn Future<Output = ()> + 'a>> {
    Box::pin(future)
}

/// An echo through a Unix stream; whoever fails closes its end.
async fn unix(seed: u64) -> io::Result<()> {
    let name = UnixAddr::from_abstract_name(format!("bourn-faults-{}", std::process::id()))?;
    let listener = UnixListener::bind_addr(&name)?;
    let data = noise(seed, 10_000);
    let server = async {
        let (stream, _) = listener.accept().await?;
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await?;
        stream.write_all(&all).await
    };
    let client = async {
        let stream = UnixStream::connect_addr(&name).await?;
        let (first, rest) = data.split_at(data.len() / 2);
        stream.write_all(first).await?;
        // Which nobody takes, and which must hide no byte.
        let passed = fs::File::open("/dev/null")?;
        assert_eq!(stream.send_with_fds(&rest[..1], &[passed.as_fd()]).await?, 1);
        stream.write_all(&rest[1..]).await?;
        stream.shutdown(Shutdown::Write)?;
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await?;
        io::Result::Ok(all)
    };
    let (all, ()) = try_zip(client, server).await?;
    assert!(all == data, "what came back is not what was sent");
    Ok(())
}

/// More than a pipe holds, through one.
async fn piped(seed: u64) -> io::Result<()> {
    let (sender, receiver) = pipe::pipe()?;
    let data = noise(seed, 100_000);
    let write = async move {
        let (first, rest) = data.split_at(data.len() / 2);
        sender.write_all(first).await?;
        let mut parts = [IoSlice::new(&rest[..1]), IoSlice::new(&rest[1..])];
        sender.write_all_vectored(&mut parts).await?;
        drop(sender);
        io::Result::Ok(data)
    };
    let read = async {
        let mut all = Vec::new();
        receiver.read_to_end(&mut all).await.map(|_| all)
    };
    let (all, data) = try_zip(read, write).await?;
    assert!(all == data, "what comes out of the pipe is not what was put in");
    Ok(())
}

/// A file that the kernel sends, all but its first bytes.
async fn from_file(seed: u64) -> io::Result<()> {
    const SKIPPED: usize = 100;
    let data = noise(seed, 100_000);
    let path = std::env::temp_dir().join(format!("bourn-faults-{}", std::process::id()));
    fs::write(&path, &data)?;
    let file = fs::File::open(&path)?;
    fs::remove_file(&path)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    let server = async {
        let (stream, _) = listener.accept().await?;
        let mut offset = SKIPPED as u64;
        let sent = stream.send_file(&file, &mut offset, u64::MAX).await?;
        assert_eq!((sent, offset), ((data.len() - SKIPPED) as u64, data.len() as u64));
        io::Result::Ok(())
    };
    let client = async {
        let stream = TcpStream::connect(addr).await?;
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.map(|_| all)
    };
    let (all, ()) = try_zip(client, server).await?;
    assert!(all == data[SKIPPED..], "what came is not the file");
    Ok(())
}

/// Echoes datagrams one by one, then some in batches. Whoever is told of an error
/// tries again, and no datagram is lost or doubled.
async fn datagrams(expected: Expected, seed: u64) -> io::Result<()> {
    let server = again(expected, async || UdpSocket::bind("127.0.0.1:0").await).await?;
    let client = again(expected, async || UdpSocket::bind("127.0.0.1:0").await).await?;
    let addr = again(expected, async || server.local_addr()).await?;
    again(expected, async || client.connect(addr).await).await?;
    let echo = async {
        let mut buf = [0; 1000];
        loop {
            let (length, sender) = again(expected, async || server.recv_from(&mut buf).await).await?;
            again(expected, async || server.send_to(&buf[..length], sender).await).await?;
        }
    };
    let ask = async {
        let mut buf = [0; 1000];
        for round in 0..20 {
            let datagram = noise(seed + round, (seed + 37 * round) as usize % 1000);
            again(expected, async || client.send(&datagram).await).await?;
            let length = again(expected, async || client.recv(&mut buf).await).await?;
            assert!(buf[..length] == datagram, "what came back is not what was sent");
        }
        let texts: Vec<_> = (0..40).map(|round| noise(seed + round, round as usize)).collect();
        let batch: Vec<_> = texts.iter().map(|text| (&text[..], None)).collect();
        let (mut sent, mut seen) = (0, 0);
        let mut room = RecvBatch::new(32, 100);
        while seen < texts.len() {
            if sent < texts.len() {
                sent += again(expected, async || client.send_batch(&batch[sent..]).await).await?;
            }
            again(expected, async || client.recv_batch(&mut room).await).await?;
            for received in room.iter() {
                assert!(received.bytes == texts[seen], "not the {seen}th datagram");
                seen += 1;
            }
        }
        Ok(())
    };
    or(echo, ask).await
}

/// Clients of `client` and one server that treats each connection with `handler`.
async fn serve<C, H>(
    expected: Expected,
    seed: u64,
    client: impl Fn(SocketAddr, u64) -> C,
    handler: impl Fn(TcpStream) -> H,
) where
    C: Future<Output = io::Result<()>>,
    H: Future<Output = io::Result<()>>,
{
    let Some(listener) = listen(expected).await else {
        return;
    };
    let addr = address(&listener);
    let clients = clients(expected, seed, |seed| client(addr, seed));
    or(clients, accept(expected, &listener, handler)).await;
}

async fn proxied(expected: Expected, seed: u64) {
    let (Some(far), Some(near)) = (listen(expected).await, listen(expected).await) else {
        return;
    };
    let (far_addr, near_addr) = (address(&far), address(&near));
    let clients = clients(expected, seed, |seed| echo_client(near_addr, seed));
    let proxy = accept(expected, &near, |stream| proxy(stream, far_addr, seed));
    or(clients, or(proxy, accept(expected, &far, echo))).await;
}

async fn clients<C: Future<Output = io::Result<()>>>(expected: Expected, seed: u64, client: impl Fn(u64) -> C) {
    let clients = (0..CLIENTS).map(async |number| {
        for _ in 0..ATTEMPTS {
            match client(seed.wrapping_mul(31) + number).await {
                Ok(()) => return,
                Err(error) => judge(expected, &error),
            }
            if expected == Expected::AnyEnd {
                return;
            }
        }
        panic!("none of {ATTEMPTS} attempts succeeded");
    });
    join_all(clients).await;
}

/// Whether the user had to see this error.
fn judge(expected: Expected, error: &io::Error) {
    use io::ErrorKind::*;
    assert!(expected != Expected::Success, "an error that nobody should see: {error:?}");
    assert!(!matches!(error.kind(), Interrupted | WouldBlock), "{error:?}");
}

async fn listen(expected: Expected) -> Option<TcpListener> {
    loop {
        match TcpListener::bind("127.0.0.1:0").await {
            Ok(listener) => return Some(listener),
            Err(error) => judge(expected, &error),
        }
        if expected == Expected::AnyEnd {
            return None;
        }
    }
}

fn address(listener: &TcpListener) -> SocketAddr {
    loop {
        if let Ok(addr) = listener.local_addr() {
            return addr;
        }
    }
}

async fn accept<H: Future<Output = io::Result<()>>>(
    expected: Expected,
    listener: &TcpListener,
    handler: impl Fn(TcpStream) -> H,
) {
    let mut incoming = listener.incoming();
    let mut handlers = FuturesUnordered::new();
    loop {
        let next = async { Some(incoming.next().await) };
        let done = async {
            while let Some(result) = handlers.next().await {
                if let Err(error) = result {
                    judge(expected, &error);
                }
            }
            std::future::pending::<Option<_>>().await
        };
        match or(next, done).await {
            Some(Ok(stream)) => handlers.push(handler(stream)),
            Some(Err(error)) => judge(expected, &error),
            None => unreachable!("the listener has no end"),
        }
    }
}

async fn echo(stream: TcpStream) -> io::Result<()> {
    let mut buf = vec![0; 3000];
    loop {
        match stream.read(&mut buf).await? {
            0 => return stream.shutdown(Shutdown::Write),
            length => stream.write_all(&buf[..length]).await?,
        }
    }
}

/// Through this process's memory, or through the kernel's pipes.
async fn proxy(near: TcpStream, addr: SocketAddr, seed: u64) -> io::Result<()> {
    let far = TcpStream::connect(addr).await?;
    if seed.is_multiple_of(2) {
        return copy_bidirectional(&near, &far).await.map(drop);
    }
    let (there, back) = zip(copy(&near, &far), copy(&far, &near)).await;
    there.and(back)
}

async fn copy(from: &TcpStream, to: &TcpStream) -> io::Result<()> {
    let mut buf = vec![0; 1700];
    loop {
        let result = match from.read(&mut buf).await {
            Ok(0) => return to.shutdown(Shutdown::Write),
            Ok(length) => to.write_all(&buf[..length]).await,
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            // The other direction must not wait for ever.
            to.shutdown(Shutdown::Both).ok();
            from.shutdown(Shutdown::Both).ok();
            return Err(error);
        }
    }
}

async fn echo_client(addr: SocketAddr, seed: u64) -> io::Result<()> {
    let stream = TcpStream::connect(addr).await?;
    let data = noise(seed, 20_000 + seed as usize % 5000);
    let (mut read, mut write) = stream.into_split();
    let writing = async {
        for piece in data.chunks(6000) {
            write.write_all(piece).await?;
        }
        drop(write);
        io::Result::Ok(())
    };
    let reading = async {
        let mut all = Vec::new();
        read.read_to_end(&mut all).await?;
        io::Result::Ok(all)
    };
    let (written, all) = zip(writing, reading).await;
    let (all, ()) = (all?, written?);
    if all.len() < data.len() {
        // The server gave up after an error of its own.
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    assert!(all == data, "what came back is not what was sent");
    Ok(())
}

async fn request_client(addr: SocketAddr, seed: u64) -> io::Result<()> {
    let stream = TcpStream::connect(addr).await?;
    for round in 0..3 {
        let body = noise(seed + round, 900 * round as usize);
        let head = format!("POST /{round} HTTP/1.1\r\ncontent-length: {}\r\n\r\n", body.len());
        let mut parts = [IoSlice::new(head.as_bytes()), IoSlice::new(&body)];
        stream.write_all_vectored(&mut parts).await?;
        let (head, echoed) = message(&stream).await?;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(echoed == body, "the answer is not the request's");
    }
    let report = stream.close().await?;
    if let Some(error) = report.error {
        return Err(error);
    }
    assert!(report.unread == 0 && report.unacknowledged == 0, "{report:?}");
    Ok(())
}

async fn answer(stream: TcpStream) -> io::Result<()> {
    loop {
        let (_, body) = match message(&stream).await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            message => message?,
        };
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        let mut parts = [IoSlice::new(head.as_bytes()), IoSlice::new(&[]), IoSlice::new(&body)];
        stream.write_all_vectored(&mut parts).await?;
    }
}

/// Reads one head with its length, and the body of that length.
async fn message(stream: &TcpStream) -> io::Result<(String, Vec<u8>)> {
    let mut head = Vec::new();
    let mut byte = [0; 64];
    while !head.ends_with(b"\r\n\r\n") {
        // No byte of the body may be taken, so peek for the head's end.
        let seen = stream.peek(&mut byte).await?;
        if seen == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let taken = byte[..seen].iter().position(|byte| *byte == b'\n').map_or(seen, |end| end + 1);
        stream.read_exact(&mut byte[..taken]).await?;
        head.extend_from_slice(&byte[..taken]);
    }
    let head = String::from_utf8(head).expect("the head is text");
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.trim().parse().ok());
    let mut body = vec![0; length.expect("a length")];
    stream.read_exact(&mut body).await?;
    Ok((head, body))
}

/// `length` bytes that look random, the same for the same `seed`.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    // xorshift64 (Marsaglia 2003)
    let mut state = seed | 1 << 40;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}

/// How many descriptors are registered at epoll instances of this process.
pub fn registered() -> usize {
    let infos = fs::read_dir("/proc/self/fdinfo").expect("procfs");
    infos
        .filter_map(|info| fs::read_to_string(info.expect("an entry").path()).ok())
        .map(|info| info.lines().filter(|line| line.starts_with("tfd:")).count())
        .sum()
}
