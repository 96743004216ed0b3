//! hyper in a `LocalRuntime`: service, body and state stay on one thread, and need
//! neither locks nor `Send`.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::rc::Rc;

use bourn::hyper::{LocalExecutor, Timer};
use bourn::net::TcpListener;
use bourn::runtime::LocalRuntime;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Response;
use hyper::service::service_fn;
use hyper_util::server::conn::auto;

fn main() -> io::Result<()> {
    LocalRuntime::new()?.block_on(async {
        let mut http = auto::Builder::new(LocalExecutor);
        http.http1().timer(Timer);
        http.http2().timer(Timer).max_concurrent_streams(1_000);

        let listener = TcpListener::bind("127.0.0.1:0").await?;
        interop::listening(listener.local_addr()?);
        let (asked, sent) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let mut incoming = listener.incoming();
        loop {
            let stream = incoming.next().await?;
            let (http, asked, sent) = (http.clone(), Rc::clone(&asked), Rc::clone(&sent));
            bourn::spawn_local(async move {
                let answer = service_fn(move |_| {
                    let (asked, sent) = (Rc::clone(&asked), Rc::clone(&sent));
                    async move {
                        asked.set(asked.get() + 1);
                        bourn::task::yield_now().await;
                        let text = format!("{} asked, {} sent\n", asked.get(), sent.get());
                        // The body has something of this thread, too.
                        let body = Full::new(Bytes::from(text)).map_frame(move |frame| {
                            sent.set(sent.get() + 1);
                            frame
                        });
                        Ok::<_, Infallible>(Response::new(body))
                    }
                });
                if let Err(error) = http.serve_connection(stream, answer).await {
                    eprintln!("a connection ended: {error}");
                }
            });
        }
    })
}
