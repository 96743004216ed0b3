//! A proxy that hands half-closes on, and what copying costs: through the program, and in the kernel with splice(2).
//!
//! ```text
//! cargo run --release --example proxy                                   shows it
//! cargo run --release --example proxy -- 127.0.0.1:7000 127.0.0.1:80    is a proxy
//! ```
//!
//! Rows 8, 9, 50 and 61 of the sockets checklist.

use std::io::{self, Read, Write};
use std::net::{self, Shutdown};
use std::process::Command;
use std::{env, thread};

use bourn::net::{TcpListener, TcpStream, copy_bidirectional};
use bourn_examples::picture::{self, Panel};
use bourn_examples::process::Server;

const BYTES: usize = 512 << 20;

/// One direction, through a buffer of the program; its end is handed on.
async fn copy(from: &TcpStream, to: &TcpStream) -> io::Result<()> {
    let mut buf = vec![0; 64 << 10];
    while let length @ 1.. = from.read(&mut buf).await? {
        to.write_all(&buf[..length]).await?;
    }
    to.shutdown(Shutdown::Write) // and the other direction goes on
}

async fn serve(address: &str, backend: String, splice: bool) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    println!("{}", listener.local_addr()?);
    let mut incoming = listener.incoming();
    loop {
        let front = incoming.next().await?;
        let backend = backend.clone();
        bourn::spawn(async move {
            let back = TcpStream::connect(backend.as_str()).await?;
            if splice {
                copy_bidirectional(&front, &back).await?;
            } else {
                futures_util::future::try_join(copy(&front, &back), copy(&back, &front)).await?;
            }
            io::Result::Ok(())
        });
    }
}

/// Counts what comes, and answers when it has heard everything.
fn count(listener: &net::TcpListener) -> io::Result<()> {
    loop {
        let (mut stream, _) = listener.accept()?;
        let (mut all, mut buf) = (0, vec![0; 1 << 20]);
        while let length @ 1.. = stream.read(&mut buf)? {
            all += length;
        }
        write!(stream, "{all}")?;
    }
}

/// Sends everything through a proxy of its own, hears the answer, and returns what the proxy's CPU time was (ms).
fn transfer(backend: &str, option: Option<&str>) -> io::Result<f64> {
    let proxy = Server::spawn(Command::new(env::current_exe()?).args(["127.0.0.1:0", backend]).args(option))?;
    let mut client = net::TcpStream::connect(proxy.address)?;
    let chunk = vec![b'x'; 1 << 20];
    for _ in 0..BYTES >> 20 {
        client.write_all(&chunk)?;
    }
    client.shutdown(Shutdown::Write)?; // through the proxy to the backend
    let mut answer = String::new();
    client.read_to_string(&mut answer)?; // and back, on the half that is still open
    assert_eq!(answer, BYTES.to_string(), "every byte, and the answer after our FIN");
    Ok(proxy.usage()?.cpu.as_secs_f64() * 1e3)
}

fn main() -> picture::Result<()> {
    match &env::args().skip(1).collect::<Vec<_>>()[..] {
        [] => {}
        [address, backend, rest @ ..] => {
            return Ok(bourn::block_on(serve(address, backend.clone(), rest.is_empty()))?);
        }
        _ => return Err("usage: proxy [ADDRESS BACKEND [--copy]]".into()),
    }
    let backend = net::TcpListener::bind("127.0.0.1:0")?;
    let address = backend.local_addr()?.to_string();
    thread::spawn(move || count(&backend));
    println!("1. a backend at {address} that answers when it has heard everything, as many bytes as there were");

    let title = format!("CPU time of the proxy for {} MiB (ms)", BYTES >> 20);
    let mut panel = Panel { title, bars: Vec::new() };
    for (step, (name, option)) in [("read and write", Some("--copy")), ("splice", None)].into_iter().enumerate() {
        // The best of three, for others use this machine, too.
        let used = (0..3).map(|_| transfer(&address, option)).collect::<io::Result<Vec<_>>>()?;
        let used = used.into_iter().fold(f64::MAX, f64::min);
        println!("{}. {name:<15} every byte, and the answer after the client's FIN; CPU: {used:.0} ms", step + 2);
        panel.bars.push((name.to_string(), used));
    }
    let (copied, spliced) = (panel.bars[0].1, panel.bars[1].1);
    picture::bars("proxy", "A proxy between two sockets: copying through the program, and splice", &[panel])?;
    assert!(spliced < 1.5 * copied, "splice is no waste: {spliced:.0} ms against {copied:.0} ms");
    println!(
        "4. holds: both hand the half-close on; splice needs {:.0} % of the CPU time here, on loopback,",
        100.0 * spliced / copied
    );
    println!("   where a buffer of 64 KiB stays in the cache and a copy is cheap. Measure your own before you choose.");
    Ok(())
}
