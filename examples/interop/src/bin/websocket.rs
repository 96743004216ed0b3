//! async-tungstenite: a WebSocket server that echoes, over the traits of futures-io.

use std::io;

use bourn::net::{TcpListener, TcpStream};
use futures_util::StreamExt;
use futures_util::future::ready;

fn main() -> io::Result<()> {
    interop::run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        interop::listening(listener.local_addr()?);
        let mut incoming = listener.incoming();
        loop {
            let stream = incoming.next().await?;
            bourn::spawn(async move {
                if let Err(error) = echo(stream).await {
                    eprintln!("a connection ended: {error}");
                }
            });
        }
    })
}

async fn echo(stream: TcpStream) -> async_tungstenite::tungstenite::Result<()> {
    let (sink, stream) = async_tungstenite::accept_async(stream).await?.split();
    // Pings and the closing handshake are answered below.
    let data = stream
        .filter(|message| ready(message.as_ref().map_or(true, |message| message.is_text() || message.is_binary())));
    data.forward(sink).await
}
