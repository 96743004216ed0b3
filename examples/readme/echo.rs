#[bourn::main]
async fn main() -> std::io::Result<()> {
    let listener = bourn::net::TcpListener::bind("127.0.0.1:7000").await?;
    let mut incoming = listener.incoming(); // skips what concerns one connection, waits when descriptors run out
    loop {
        let stream = incoming.next().await?;
        bourn::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                stream.write_all(&buffer[..length]).await?;
            }
            std::io::Result::Ok(())
        });
    }
}
