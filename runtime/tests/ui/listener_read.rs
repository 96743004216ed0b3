// A listener accepts and does not read; a stream reads and does not accept.

use bourn::net::{TcpListener, TcpStream};

async fn wrong(listener: TcpListener, stream: TcpStream) {
    listener.read(&mut [0; 8]).await.unwrap();
    stream.accept().await.unwrap();
}

fn main() {
    drop(wrong);
}
