//! Four ways to send a request that is made of two small parts: what they cost in time and in packets.
//!
//! A request is a header and a body, in two writes. The server answers when it has both. Nagle's algorithm keeps the second
//! small segment back until the first is acknowledged, and the server's kernel delays its acknowledgement in the hope of an
//! answer to carry it: each waits for the other, 40 ms. Rows 5, 20, 67, 68 and 69 of the sockets checklist.

use std::io::{self, IoSlice};
use std::time::Instant;

use bourn::net::{TcpListener, TcpStream};
use bourn_examples::picture::{self, Panel};

const HEADER: &[u8] = b"length: 5\r\n\r\n";
const BODY: &[u8] = b"hello";
const REQUESTS: usize = 30;

#[derive(Clone, Copy, Debug)]
enum How {
    Nagle,
    NoDelay,
    Cork,
    OneCall,
}

/// Sends a request and waits for its answer.
async fn request(stream: &TcpStream, how: How) -> io::Result<()> {
    match how {
        How::Nagle | How::NoDelay => {
            stream.write_all(HEADER).await?;
            stream.write_all(BODY).await?;
        }
        How::Cork => {
            let _cork = stream.cork()?; // pulled when it goes out of scope
            stream.write_all(HEADER).await?;
            stream.write_all(BODY).await?;
        }
        How::OneCall => stream.write_all_vectored(&mut [IoSlice::new(HEADER), IoSlice::new(BODY)]).await?,
    }
    stream.read_exact(&mut [0; 2]).await
}

#[bourn::main]
async fn main() -> picture::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    bourn::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await?;
            bourn::spawn(async move {
                let mut whole = vec![0; HEADER.len() + BODY.len()];
                while stream.read_exact(&mut whole).await.is_ok() {
                    stream.write_all(b"ok").await?;
                }
                io::Result::Ok(())
            });
        }
        #[allow(unreachable_code)]
        io::Result::Ok(())
    });
    let ways = [
        (How::Nagle, "Nagle, two writes"),
        (How::NoDelay, "TCP_NODELAY, two writes"),
        (How::Cork, "TCP_CORK, two writes"),
        (How::OneCall, "one write_vectored"),
    ];
    let mut latency = Panel { title: "median time from request to answer (ms)".into(), bars: Vec::new() };
    let mut segments = Panel { title: "packets that the client sends, for each request".into(), bars: Vec::new() };
    for (step, (how, name)) in ways.into_iter().enumerate() {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(!matches!(how, How::Nagle))?; // bourn sets TCP_NODELAY by itself
        // The first requests of a connection are acknowledged at once: they would be no measure.
        for _ in 0..5 {
            request(&stream, how).await?;
        }
        let before = stream.info()?.segs_out;
        let mut times = Vec::new();
        for _ in 0..REQUESTS {
            let began = Instant::now();
            request(&stream, how).await?;
            times.push(began.elapsed().as_secs_f64() * 1e3);
        }
        let info = stream.info()?;
        let sent = (info.segs_out - before) as f64 / REQUESTS as f64;
        times.sort_by(f64::total_cmp);
        let median = times[REQUESTS / 2];
        println!(
            "{}. {name:<24} {median:>7.3} ms, {sent:.2} packets (a full one has {} bytes)",
            step + 1,
            info.snd_mss
        );
        latency.bars.push((name.to_string(), median));
        segments.bars.push((name.to_string(), sent));
    }
    let title = "A request in two small parts: when they travel together, and when one waits";
    picture::bars("nagle_cork_nodelay", title, &[latency.clone(), segments.clone()])?;

    let [nagle, nodelay, cork, one] = [0, 1, 2, 3].map(|way| (latency.bars[way].1, segments.bars[way].1));
    assert!(nagle.0 > 10.0 * nodelay.0.min(cork.0).min(one.0), "Nagle and delayed acknowledgements: {nagle:?}");
    assert!(nagle.0 >= 30.0, "the delayed acknowledgement's 40 ms: {nagle:?}");
    assert!(nodelay.1 >= 1.9, "each write is a segment: {nodelay:?}");
    assert!(cork.1 <= 1.1 && one.1 <= 1.1, "together in one: {cork:?} {one:?}");
    println!("5. holds: TCP_NODELAY cures the wait; writing once (or a cork) also saves the segment");
    Ok(())
}
