//! quinn: its runtime on bourn, and 100 MiB from a client to a server, hashed at both ends.
//!
//! `quic CERT KEY [SEND_BUFFER]`, in bytes. The recipe is [`Bourn`], [`Socket`] and
//! [`Writable`].

use std::fmt;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{self, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bourn::net::UdpSocket;
use bourn::time::Sleep;
use quinn::rustls::RootCertStore;
use quinn::rustls::pki_types::pem::PemObject;
use quinn::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use quinn::udp::{RecvMeta, Transmit, UdpSocketState};
use quinn::{AsyncTimer, AsyncUdpSocket, ClientConfig, Endpoint, EndpointConfig, Runtime, ServerConfig, UdpPoller};
use ring::digest::{Context as Hash, Digest, SHA256};

/// quinn's runtime: tasks, timers and sockets of bourn.
#[derive(Debug)]
struct Bourn {
    /// Of each socket; the system's, if it is none.
    send_buffer: Option<usize>,
}

impl Runtime for Bourn {
    fn new_timer(&self, deadline: Instant) -> Pin<Box<dyn AsyncTimer>> {
        Box::pin(Timer(bourn::time::sleep_until(deadline)))
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        drop(bourn::spawn(future));
    }

    fn wrap_udp_socket(&self, socket: net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let state = UdpSocketState::new((&socket).into())?;
        let socket = UdpSocket::from_std(socket)?;
        if let Some(bytes) = self.send_buffer {
            socket.set_send_buffer_size(bytes)?;
        }
        Ok(Arc::new(Socket { socket: Arc::new(socket), state }))
    }
}

#[derive(Debug)]
struct Timer(Sleep);

impl AsyncTimer for Timer {
    fn reset(mut self: Pin<&mut Self>, deadline: Instant) {
        self.0.reset(deadline);
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx)
    }
}

/// A socket with what quinn-udp knows about it: segmentation, congestion marks.
#[derive(Debug)]
struct Socket {
    socket: Arc<UdpSocket>,
    state: UdpSocketState,
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Writable { socket: Arc::clone(&self.socket), wait: None, counted: None })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.socket.try_io(bourn::net::Interest::WRITE, || self.state.send((&*self.socket).into(), transmit))
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.socket.poll_read_ready(cx))?;
            let received =
                self.socket.try_io(bourn::net::Interest::READ, || self.state.recv((&*self.socket).into(), bufs, meta));
            match received {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.state.gro_segments()
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }
}

/// One connection's wait for room. Each has a place of its own among those who wait: quinn
/// polls it before every send, with the waker of the connection's task.
struct Writable {
    socket: Arc<UdpSocket>,
    wait: Option<Pin<Box<dyn Future<Output = io::Result<()>> + Send + Sync>>>,
    /// For the test alone.
    counted: Option<Counted>,
}

impl UdpPoller for Writable {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Writable { socket, wait, counted } = &mut *self;
        let wait = wait.get_or_insert_with(|| {
            let socket = Arc::clone(socket);
            Box::pin(async move { socket.writable().await })
        });
        let Poll::Ready(result) = wait.as_mut().poll(cx) else {
            counted.get_or_insert_with(Counted::new);
            return Poll::Pending;
        };
        (self.wait, self.counted) = (None, None);
        Poll::Ready(result)
    }
}

impl fmt::Debug for Writable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Writable").field("waits", &self.wait.is_some()).finish_non_exhaustive()
    }
}

/// How often a connection had to wait, how many do now, and the most that ever did.
static WAITS: AtomicUsize = AtomicUsize::new(0);
static WAITING: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

struct Counted;

impl Counted {
    fn new() -> Counted {
        WAITS.fetch_add(1, Ordering::Relaxed);
        MOST.fetch_max(WAITING.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        Counted
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        WAITING.fetch_sub(1, Ordering::Relaxed);
    }
}

type Error = Box<dyn std::error::Error + Send + Sync>;

const CONNECTIONS: u8 = 4;
const BYTES_PER_CONNECTION: usize = 25 << 20;

fn main() -> Result<(), Error> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (cert, key, send_buffer) = match &args[..] {
        [cert, key] => (cert, key, None),
        [cert, key, bytes] => (cert, key, Some(bytes.parse()?)),
        _ => panic!("usage: quic CERT KEY [SEND_BUFFER]"),
    };
    let runtime = Arc::new(Bourn { send_buffer });
    interop::run(async {
        let cert = CertificateDer::from_pem_file(cert)?;
        let server = server(&runtime, cert.clone(), PrivateKeyDer::from_pem_file(key)?)?;
        let client = client(&runtime, cert)?;
        let addr = server.local_addr()?;
        let serving = bourn::spawn(serve(server));

        let sending: Vec<_> = (0..CONNECTIONS).map(|number| bourn::spawn(send(client.clone(), addr, number))).collect();
        for sent in sending {
            sent.await??;
        }
        client.wait_idle().await;
        serving.abort();
        println!("{} bytes in {CONNECTIONS} connections, hashed at both ends", BYTES_PER_CONNECTION * 4);
        println!("{WAITS:?} waits for room, up to {MOST:?} connections at a time");
        Ok(())
    })
}

fn endpoint(runtime: &Arc<Bourn>, config: Option<ServerConfig>) -> io::Result<Endpoint> {
    let socket = net::UdpSocket::bind("127.0.0.1:0")?;
    Endpoint::new(EndpointConfig::default(), config, socket, Arc::clone(runtime) as Arc<dyn Runtime>)
}

fn server(runtime: &Arc<Bourn>, cert: CertificateDer<'static>, key: PrivateKeyDer<'static>) -> Result<Endpoint, Error> {
    Ok(endpoint(runtime, Some(ServerConfig::with_single_cert(vec![cert], key)?))?)
}

fn client(runtime: &Arc<Bourn>, cert: CertificateDer<'static>) -> Result<Endpoint, Error> {
    let mut roots = RootCertStore::empty();
    roots.add(cert)?;
    let mut client = endpoint(runtime, None)?;
    client.set_default_client_config(ClientConfig::with_root_certificates(Arc::new(roots))?);
    Ok(client)
}

/// Answers each stream with the hash of what came.
async fn serve(server: Endpoint) {
    while let Some(incoming) = server.accept().await {
        bourn::spawn(async move {
            let connection = incoming.await?;
            let (mut answer, mut stream) = connection.accept_bi().await?;
            let mut hash = Hash::new(&SHA256);
            while let Some(chunk) = stream.read_chunk(usize::MAX, true).await? {
                hash.update(&chunk.bytes);
            }
            answer.write_all(hash.finish().as_ref()).await?;
            answer.finish()?;
            connection.closed().await;
            Ok::<_, Error>(())
        });
    }
}

async fn send(client: Endpoint, addr: SocketAddr, number: u8) -> Result<(), Error> {
    let connecting = bourn::time::timeout(Duration::from_secs(20), client.connect(addr, "localhost")?);
    let connection = connecting.await??;
    let (mut stream, mut answer) = connection.open_bi().await?;
    let mut hash = Hash::new(&SHA256);
    let mut block: Vec<u8> = (0..64 << 10).map(|index| (index % 251) as u8 ^ number).collect();
    for round in 0..BYTES_PER_CONNECTION / block.len() {
        // No block is like another.
        block[..8].copy_from_slice(&round.to_ne_bytes());
        hash.update(&block);
        stream.write_all(&block).await?;
    }
    stream.finish()?;
    let sent: Digest = hash.finish();
    assert_eq!(answer.read_to_end(64).await?, sent.as_ref(), "what was received is what was sent");
    connection.close(0_u8.into(), b"done");
    Ok(())
}
