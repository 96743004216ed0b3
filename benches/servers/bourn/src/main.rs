//! bourn: on the thread that calls, on workers that share tasks, on workers that share nothing.
#![forbid(unsafe_code)]

use std::io;
use std::os::fd::OwnedFd;

use bourn::Builder;
use bourn::net::{TcpListener, TcpStream};
use versus_common::{Arguments, Service, announce};

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let builder = match arguments.flavor.as_str() {
        "current_thread" => Builder::new_current_thread(),
        // With the thread that notices blocked ones, as in a debug build.
        "watched" => Builder::new_current_thread().rescue(true),
        "multi_thread" => Builder::new_multi_thread(),
        "thread_per_core" => Builder::new_thread_per_core(),
        other => panic!("bourn has no flavor {other}"),
    };
    let backend = arguments.backend.parse().map_err(io::Error::other)?;
    let runtime = builder.worker_threads(arguments.workers).backend(backend).build()?;
    let Arguments { service, buffer, .. } = arguments;
    if arguments.flavor == "thread_per_core" {
        let listeners = versus_common::listeners(&arguments)?;
        announce(&listeners[0])?;
        runtime.block_on(async {
            let all = bourn::runtime::Handle::current().spawn_on_each(move |worker| {
                let listener = listeners[worker].try_clone();
                async move { serve(TcpListener::try_from(OwnedFd::from(listener?))?, service, buffer).await }
            });
            for result in all.await {
                result.map_err(io::Error::other)??;
            }
            Ok(())
        })
    } else {
        let listener = versus_common::listener(&arguments)?;
        announce(&listener)?;
        let serving = async move { serve(TcpListener::try_from(OwnedFd::from(listener))?, service, buffer).await };
        if arguments.flavor != "multi_thread" {
            return runtime.block_on(serving);
        }
        // This thread waits outside, as tokio's does.
        runtime.spawn(async {
            let Err(error) = serving.await else { return };
            eprintln!("{error}");
            std::process::exit(1);
        });
        loop {
            std::thread::park();
        }
    }
}

async fn serve(listener: TcpListener, service: Service, buffer: usize) -> io::Result<()> {
    let mut incoming = listener.incoming();
    loop {
        let stream = incoming.next().await?;
        // A connection that fails concerns nobody else.
        versus_common::start!(bourn::spawn, service, stream, buffer);
    }
}

versus_common::services!(TcpStream);
