//! The two servers. They differ in nothing but the runtime.

use std::convert::Infallible;
use std::future::pending;
use std::{io, thread};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::{Request, Response};

async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(Bytes::from_static(b"Hello, world!"))))
}

/// The workers, and whether the main thread is inside `block_on`, as it is below
/// `#[bourn::main]` and `#[tokio::main]`.
fn parse(runtime: &str) -> (&str, bool) {
    match runtime.split_once("+main") {
        Some((workers, _)) => (workers, true),
        None => (runtime, runtime == "thread"),
    }
}

/// The main thread does nothing.
fn outside() -> ! {
    loop {
        thread::park();
    }
}

pub fn bourn(runtime: &str) {
    use ::bourn::hyper::Timer;
    use ::bourn::net::TcpListener;
    use ::bourn::runtime::Builder;

    let (workers, inside) = parse(runtime);
    let runtime = match workers {
        "thread" => Builder::new_current_thread(),
        workers => Builder::new_multi_thread().worker_threads(workers.parse().expect("a number of workers")),
    };
    let runtime = runtime.build().expect("a runtime");
    drop(runtime.spawn(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        let mut http = http1::Builder::new();
        http.timer(Timer);
        loop {
            // TCP_NODELAY is on.
            let (stream, _) = listener.accept().await?;
            let connection = http.serve_connection(stream, hyper::service::service_fn(hello));
            drop(::bourn::spawn(connection));
        }
        #[expect(unreachable_code, reason = "says what the errors above are")]
        io::Result::Ok(())
    }));
    if inside {
        runtime.block_on(pending::<()>());
    }
    outside();
}

pub fn tokio(runtime: &str) {
    use ::tokio::net::TcpListener;
    use ::tokio::runtime::Builder;
    use hyper_util::rt::{TokioIo, TokioTimer};

    let (workers, inside) = parse(runtime);
    let mut builder = match workers {
        "thread" => Builder::new_current_thread(),
        workers => {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(workers.parse().expect("a number of workers"));
            builder
        }
    };
    let runtime = builder.enable_all().build().expect("a runtime");
    drop(runtime.spawn(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new());
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let connection = http.serve_connection(TokioIo::new(stream), hyper::service::service_fn(hello));
            drop(::tokio::spawn(connection));
        }
        #[expect(unreachable_code, reason = "says what the errors above are")]
        io::Result::Ok(())
    }));
    if inside {
        runtime.block_on(pending::<()>());
    }
    outside();
}
