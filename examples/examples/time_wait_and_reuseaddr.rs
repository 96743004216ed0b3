//! Why a server cannot be started again at once, who is to blame, and what mends it.
//!
//! Rows 12, 36 and 64 of the sockets checklist.

use std::io::{self, ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};

use bourn_examples::kernel;
use socket2::{Domain, Socket, Type};

fn listen(address: SocketAddr, reuse: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(reuse)?;
    socket.bind(&address.into())?;
    socket.listen(16)?;
    Ok(socket.into())
}

/// Which side of an ended connection the kernel keeps in TIME_WAIT.
fn kept(server: SocketAddr, client: SocketAddr) -> io::Result<&'static str> {
    let waits = |side: Option<kernel::Tcp>| side.is_some_and(|side| side.state == "TIME_WAIT");
    Ok(match (waits(kernel::tcp(server, client)?), waits(kernel::tcp(client, server)?)) {
        (true, false) => "the server's",
        (false, true) => "the client's",
        _ => "both or none",
    })
}

/// A server's life: one connection, which is ended by the server or by the client first; then the server exits.
fn life(reuse: bool, server_first: bool) -> io::Result<(SocketAddr, SocketAddr)> {
    let listener = listen("127.0.0.1:0".parse().expect("an address"), reuse)?;
    let address = listener.local_addr()?;
    let client = TcpStream::connect(address)?;
    let (server, _) = listener.accept()?;
    drop(listener);
    let ends = (address, client.local_addr()?);
    let (mut first, mut second) = (server, client);
    if !server_first {
        (first, second) = (second, first);
    }
    first.shutdown(std::net::Shutdown::Write)?;
    assert_eq!(second.read(&mut [0])?, 0);
    drop(second); // the other FIN: now `first` is in TIME_WAIT
    assert_eq!(first.read(&mut [0])?, 0);
    Ok(ends)
}

fn main() -> io::Result<()> {
    println!("1. the client closes first: TIME_WAIT (60 s) is the client's, the server's port is free");
    let (address, client) = life(false, false)?;
    println!("   server {address}, client {client}; in TIME_WAIT: {} side", kept(address, client)?);
    assert_eq!(kept(address, client)?, "the client's");
    listen(address, false)?;
    println!("   bind again, without SO_REUSEADDR: ok");

    println!("2. the server closes first: TIME_WAIT is the server's, and so is the trouble");
    let (address, client) = life(false, true)?;
    println!("   server {address}, client {client}; in TIME_WAIT: {} side", kept(address, client)?);
    assert_eq!(kept(address, client)?, "the server's");
    let error = listen(address, false).expect_err("TIME_WAIT holds the address");
    println!("   bind again, without SO_REUSEADDR: {error}");
    assert_eq!(error.kind(), ErrorKind::AddrInUse);

    println!("3. setting SO_REUSEADDR now is too late: Linux asks the old socket, too");
    let error = listen(address, true).expect_err("the old socket had not set it");
    println!("   bind again, with SO_REUSEADDR: {error}");
    assert_eq!(error.kind(), ErrorKind::AddrInUse);

    println!("4. set before the first bind it works");
    let (address, client) = life(true, true)?;
    println!("   server {address}, client {client}; in TIME_WAIT: {} side", kept(address, client)?);
    assert_eq!(kept(address, client)?, "the server's");
    let listener = listen(address, true)?;
    println!("   bind again, with SO_REUSEADDR on both: ok");

    println!("5. it is no licence to steal: while somebody listens, the address is taken");
    let error = listen(address, true).expect_err("somebody listens");
    println!("   bind beside the listener: {error}");
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    drop(listener);

    println!("6. bourn's listeners set it by themselves (as std's and tokio's do)");
    bourn::block_on(async {
        let listener = bourn::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let client = bourn::net::TcpStream::connect(address).await?;
        let (server, peer) = listener.accept().await?;
        drop(listener);
        server.shutdown(std::net::Shutdown::Write)?;
        assert_eq!(client.read(&mut [0]).await?, 0);
        drop(client);
        assert_eq!(server.read(&mut [0]).await?, 0);
        drop(server);
        assert_eq!(kept(address, peer)?, "the server's");
        bourn::net::TcpListener::bind(address).await?;
        println!("   {address}: in TIME_WAIT, and bound again");
        io::Result::Ok(())
    })?;
    println!("7. holds: who closes first keeps TIME_WAIT; SO_REUSEADDR must have been set before the first bind");
    Ok(())
}
