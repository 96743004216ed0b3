//! The server on bourn: one thread, and a task for each connection.
//!
//! Where the blocking servers sleep in `recv`, a task here gives the thread to
//! whoever has something to do. When nobody has, the thread sleeps once, in one
//! kernel call that watches every connection.

use std::convert::Infallible;
use std::io;
use std::net::{Shutdown, SocketAddr};

use bourn::net::{TcpListener, TcpSocket, TcpStream};
use bourn::runtime::Builder;
use bourn::time::timeout;

use super::{BACKLOG, LINGER};
use crate::http::{Connection, Next};

pub fn run(addr: SocketAddr, announce: impl FnOnce(SocketAddr) -> io::Result<()>) -> io::Result<Infallible> {
    Builder::new_current_thread().build()?.block_on(async {
        let listener = listen(addr)?;
        announce(listener.local_addr()?)?;
        // Survives what befalls a single connection, and waits when descriptors run out.
        let mut incoming = listener.incoming();
        loop {
            let stream = incoming.next().await?;
            // The task goes on without its handle.
            bourn::spawn(async move {
                // An error here is a client that broke off, which ends nothing but its connection.
                let _broke_off = serve(&stream).await;
            });
        }
    })
}

/// `TcpListener::bind(addr).await` with a backlog of our choice.
fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A server that is started again finds its port free, although old connections still time out in the kernel.
    socket.set_reuse_addr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

async fn serve(stream: &TcpStream) -> io::Result<()> {
    let mut connection = Connection::new();
    loop {
        let length = stream.read(connection.space()).await?;
        if length == 0 {
            return Ok(());
        }
        let next = connection.receive(length);
        stream.write_all(connection.output()).await?;
        if next == Next::Close {
            break;
        }
    }

    stream.shutdown(Shutdown::Write)?;
    let mut unread = [0; 4096];
    let gone = async { while let Ok(1..) = stream.read(&mut unread).await {} };
    // Whoever does not go in time is left behind.
    let _late = timeout(LINGER, gone).await;
    Ok(())
}
