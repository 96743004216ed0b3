//! tokio: on the thread that calls, and on workers that share tasks.
#![forbid(unsafe_code)]

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use versus_common::{Arguments, Service, announce};

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let mut builder = match arguments.flavor.as_str() {
        "current_thread" => Builder::new_current_thread(),
        "multi_thread" => Builder::new_multi_thread(),
        other => panic!("tokio has no flavor {other}"),
    };
    let runtime = builder.worker_threads(arguments.workers).enable_all().build()?;
    let listener = versus_common::listener(&arguments)?;
    let Arguments { service, buffer, .. } = arguments;
    announce(&listener)?;
    let task = runtime.spawn(async move { serve(TcpListener::from_std(listener)?, service, buffer).await });
    runtime.block_on(task).map_err(io::Error::other)?
}

async fn serve(listener: TcpListener, service: Service, buffer: usize) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        // A connection that fails concerns nobody else.
        versus_common::start!(tokio::spawn, service, stream, buffer);
    }
}

versus_common::services!(TcpStream);
