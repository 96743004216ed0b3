//! rustls through futures-rustls: an answer to all that the client sends before it closes
//! its half (close_notify). (HTTPS is in `served`.)
//!
//! `tls sum CERT KEY` is a server; `tls ask CERT ADDRESS` its client, and `tls get CERT
//! ADDRESS` one of HTTP/1.1 that closes its half, too.

use std::error::Error;
use std::sync::Arc;

use bourn::net::{TcpListener, TcpStream};
use futures_rustls::client::TlsStream;
use futures_rustls::rustls::pki_types::pem::PemObject;
use futures_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use futures_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use futures_util::{AsyncReadExt, AsyncWriteExt};

/// More than any socket buffer takes, so that what is left out would show.
const LENGTH: usize = 8 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [what, cert, other] = &args[..] else { panic!("usage: tls sum CERT KEY, or tls ask|get CERT ADDRESS") };
    match what.as_str() {
        "sum" => interop::run(sum(server(cert, other)?)),
        "ask" => interop::run(ask(cert, other)),
        "get" => interop::run(get(cert, other)),
        _ => panic!("{what}?"),
    }
}

fn server(cert: &str, key: &str) -> Result<ServerConfig, Box<dyn Error>> {
    let chain = CertificateDer::pem_file_iter(cert)?.collect::<Result<_, _>>()?;
    Ok(ServerConfig::builder().with_no_client_auth().with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?)
}

/// Reads to the end, then answers with as many bytes, each one higher.
async fn sum(config: ServerConfig) -> Result<(), Box<dyn Error>> {
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

async fn connect(cert: &str, addr: &str) -> Result<TlsStream<TcpStream>, Box<dyn Error>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(cert)?)?;
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let connector = futures_rustls::TlsConnector::from(Arc::new(config));
    Ok(connector.connect(ServerName::try_from("localhost")?, TcpStream::connect(addr).await?).await?)
}

async fn ask(cert: &str, addr: &str) -> Result<(), Box<dyn Error>> {
    let mut stream = connect(cert, addr).await?;
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

async fn get(cert: &str, addr: &str) -> Result<(), Box<dyn Error>> {
    let mut stream = connect(cert, addr).await?;
    stream.write_all(b"GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
    stream.close().await?;
    let mut answer = Vec::new();
    // An error, unless the server says close_notify, too.
    stream.read_to_end(&mut answer).await?;
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
    assert!(answer[head..].iter().all(|byte| *byte == b'x'));
    println!("{} bytes after close_notify", answer.len() - head);
    Ok(())
}
