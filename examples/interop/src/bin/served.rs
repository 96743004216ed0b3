//! hyper and tower through bourn's server, with its limits and its drain: a plain service
//! of hyper, one of tower, and HTTPS. (axum has a program of its own.)
//!
//! `served hyper`, `served tower`, `served tls CERT KEY`, and after that limits, in
//! milliseconds: `first_byte=500 head=500 write_stall=1000`, and `half_close`.

use std::sync::Arc;
use std::time::Duration;

use bourn::http::Http;
use bourn::server::{Connection, Drain, Limits, Outcome, Server};
use hyper::body::Incoming;
use hyper::header::{HeaderValue, SERVER};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use interop::site::{self, answer};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tower::ServiceBuilder;

type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Error> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match &args[..] {
        ["hyper", settings @ ..] => interop::run(serve(settings, |http| http.handler(service_fn(answer)))),
        ["tower", settings @ ..] => interop::run(serve(settings, |http| {
            let signed = |mut response: Response<site::Body>| {
                response.headers_mut().insert(SERVER, HeaderValue::from_static("tower"));
                response
            };
            let service = ServiceBuilder::new()
                .concurrency_limit(1_000)
                .map_response(signed)
                .service_fn(|request: Request<Incoming>| answer(request));
            http.handler(TowerToHyperService::new(service))
        })),
        ["tls", cert, key, settings @ ..] => {
            let acceptor = acceptor(cert, key)?;
            interop::run(serve(settings, |http| move |connection| https(http.clone(), acceptor.clone(), connection)))
        }
        _ => panic!("usage: served hyper|tower|tls CERT KEY, then limits"),
    }
}

/// Serves until SIGTERM.
async fn serve<H, R>(settings: &[&str], handler: impl FnOnce(Http) -> H) -> Result<(), Error>
where
    H: Fn(Connection) -> R + Send + Sync + 'static,
    R: Future<Output: Outcome> + Send + 'static,
{
    let (mut limits, mut http) = (Limits::new(), Http::new().max_concurrent_streams(1_000));
    for setting in settings {
        let (name, value) = setting.split_once('=').unwrap_or((setting, "0"));
        let limit = Duration::from_millis(value.parse()?);
        match name {
            "first_byte" => limits = limits.first_byte(limit),
            "write_stall" => limits = limits.write_stall(limit),
            "head" => http = http.header_timeout(limit),
            "half_close" => http = http.half_close(true),
            _ => panic!("{name}?"),
        }
    }
    let server =
        Server::new().limits(limits).drain(Drain::new().deadline(Duration::from_secs(10))).bind("127.0.0.1:0").await?;
    interop::listening(server.local_addrs()[0].tcp().expect("an address of TCP"));
    let report = server.serve(handler(http)).await?;
    eprintln!("{report}");
    Ok(())
}

fn acceptor(cert: &str, key: &str) -> Result<TlsAcceptor, Error> {
    let chain = CertificateDer::pem_file_iter(cert)?.collect::<Result<_, _>>()?;
    let mut config =
        ServerConfig::builder().with_no_client_auth().with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// TLS lies between the server's connection, which counts and limits, and HTTP.
async fn https(http: Http, acceptor: TlsAcceptor, connection: Connection) -> Result<(), Error> {
    let draining = connection.draining();
    let handshake = bourn::time::timeout(Duration::from_secs(10), acceptor.accept(connection));
    http.serve(TokioIo::new(handshake.await??), service_fn(answer), draining).await
}
