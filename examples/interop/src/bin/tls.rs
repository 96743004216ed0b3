//! rustls: HTTPS with ALPN through tokio-rustls, and through futures-rustls an answer to
//! all that the client sends before it closes its half (close_notify).
//!
//! `tls https CERT KEY`, `tls sum CERT KEY`; `tls ask CERT ADDRESS` is a client of the
//! second.

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;

use bourn::hyper::{Executor, Timer};
use bourn::net::{TcpListener, TcpStream};
use bytes::Bytes;
use futures_util::{AsyncReadExt, AsyncWriteExt};
use http_body_util::Full;
use hyper::Response;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};

/// More than any socket buffer takes, so that what is left out would show.
const LENGTH: usize = 8 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [what, cert, other] = &args[..] else { panic!("usage: tls https|sum CERT KEY, or tls ask CERT ADDRESS") };
    match what.as_str() {
        "https" => interop::run(https(server(cert, other)?)),
        "sum" => interop::run(sum(server(cert, other)?)),
        "ask" => interop::run(ask(cert, other)),
        _ => panic!("{what}?"),
    }
}

fn server(cert: &str, key: &str) -> Result<ServerConfig, Box<dyn Error>> {
    let chain = CertificateDer::pem_file_iter(cert)?.collect::<Result<_, _>>()?;
    let mut config =
        ServerConfig::builder().with_no_client_auth().with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

async fn https(config: ServerConfig) -> Result<(), Box<dyn Error>> {
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let mut http = auto::Builder::new(Executor);
    http.http1().timer(Timer);
    http.http2().timer(Timer);

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    interop::listening(listener.local_addr()?);
    let mut incoming = listener.incoming();
    loop {
        let stream = incoming.next().await?;
        let (acceptor, http) = (acceptor.clone(), http.clone());
        bourn::spawn(async move {
            let handshake = bourn::time::timeout(std::time::Duration::from_secs(10), acceptor.accept(stream));
            if let Ok(Ok(stream)) = handshake.await {
                let answer = service_fn(|request: hyper::Request<_>| async move {
                    let version = format!("{:?}\n", request.version());
                    let body: Bytes =
                        if request.uri().path() == "/big" { vec![b'x'; LENGTH].into() } else { version.into() };
                    Ok::<_, Infallible>(Response::new(Full::new(body)))
                });
                let _ = http.serve_connection(TokioIo::new(stream), answer).await;
            }
        });
    }
}

/// Reads to the end, then answers with as many bytes, each one higher.
async fn sum(mut config: ServerConfig) -> Result<(), Box<dyn Error>> {
    config.alpn_protocols.clear();
    let acceptor = futures_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    interop::listening(listener.local_addr()?);
    let mut incoming = listener.incoming();
    loop {
        let stream = incoming.next().await?;
        let acceptor = acceptor.clone();
        bourn::spawn(async move {
            let mut stream = acceptor.accept(stream).await?;
            let mut bytes = Vec::new();
            // Without a close_notify this is an error: somebody cut the stream.
            stream.read_to_end(&mut bytes).await?;
            bytes.iter_mut().for_each(|byte| *byte = byte.wrapping_add(1));
            stream.write_all(&bytes).await?;
            stream.close().await
        });
    }
}

async fn ask(cert: &str, addr: &str) -> Result<(), Box<dyn Error>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(cert)?)?;
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let connector = futures_rustls::TlsConnector::from(Arc::new(config));
    let name = ServerName::try_from("localhost")?;
    let mut stream = connector.connect(name, TcpStream::connect(addr).await?).await?;

    let question: Vec<u8> = (0..LENGTH).map(|number| (number % 251) as u8).collect();
    stream.write_all(&question).await?;
    stream.close().await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    assert_eq!(answer.len(), LENGTH, "nothing is cut off");
    assert!(answer.iter().zip(&question).all(|(answer, asked)| *answer == asked.wrapping_add(1)));
    println!("{} bytes after close_notify", answer.len());
    Ok(())
}
