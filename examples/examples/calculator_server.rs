//! The network calculator of the tutorials, in layers that know nothing of each other's work.
//!
//! ```text
//!   calculator    Request -> Option<i64>                   knows no text and no socket
//!   protocol      "3 + 4" -> Request, Some(7) -> "= 7"     knows no socket
//!   callback      a line in, a line out                    joins the two above
//!   server        connections, and lines out of bytes      knows no calculator: it gets a callback
//! ```
//!
//! Rows 78 and 79 of the sockets checklist. `five_architectures` has other servers for such a callback.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use bourn::JoinHandle;
use bourn::server::{Connection, Control, Limits, Report, Server};
use futures_util::{SinkExt, StreamExt};
use tokio_util::codec::{Framed, LinesCodec, LinesCodecError};

const QUESTIONS: [(&str, &str); 3] = [("3 + 4", "= 7"), ("1 / 0", "! no such number"), ("what?", "! not a question")];

mod calculator {
    pub struct Request(pub i64, pub char, pub i64);

    pub fn answer(Request(left, operator, right): Request) -> Option<i64> {
        match operator {
            '+' => left.checked_add(right),
            '-' => left.checked_sub(right),
            '*' => left.checked_mul(right),
            '/' => left.checked_div(right),
            _ => None,
        }
    }
}

mod protocol {
    use super::calculator::Request;

    pub fn decode(line: &str) -> Option<Request> {
        let mut words = line.split_whitespace();
        let (left, operator, right) = (words.next()?, words.next()?, words.next()?);
        Some(Request(left.parse().ok()?, operator.parse().ok()?, right.parse().ok()?))
    }

    pub fn encode(answer: Option<i64>) -> String {
        answer.map_or("! no such number".into(), |number| format!("= {number}"))
    }
}

/// The callback: it joins the two.
fn calculate(line: &str) -> String {
    protocol::decode(line).map_or("! not a question".into(), |request| protocol::encode(calculator::answer(request)))
}

/// Another one, for the same server.
fn shout(line: &str) -> String {
    line.to_uppercase()
}

/// The server: it would serve anything whose messages are lines. How to call it, how to end it, how it ended.
async fn serve(callback: fn(&str) -> String) -> io::Result<(SocketAddr, Control, JoinHandle<io::Result<Report>>)> {
    let mut server = Server::new().limits(Limits::new().connections(100)).bind("127.0.0.1:0").await?;
    let (address, control) = (server.local_addrs()[0].tcp().expect("an address of TCP"), server.control());
    let converse = move |connection: Connection| async move {
        // A line of more than a kibibyte ends the conversation: nobody fills the memory.
        let mut lines = Framed::new(connection, LinesCodec::new_with_max_length(1024));
        while let Some(line) = lines.next().await {
            lines.send(callback(&line?)).await?;
        }
        Result::<(), LinesCodecError>::Ok(())
    };
    Ok((address, control, bourn::spawn(server.serve(converse))))
}

/// What a client hears to each of its lines, all of which it sends at once.
fn ask(address: SocketAddr, lines: &[&str]) -> io::Result<Vec<String>> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all((lines.join("\n") + "\n").as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    BufReader::new(stream).lines().collect()
}

#[bourn::main]
async fn main() -> io::Result<()> {
    println!("1. the layers alone: no socket is needed to test them");
    assert_eq!(calculator::answer(calculator::Request(6, '*', 7)), Some(42));
    assert_eq!(calculator::answer(calculator::Request(i64::MAX, '+', 1)), None);
    assert!(protocol::decode("3 + 4").is_some() && protocol::decode("3 +").is_none());
    for (line, expected) in QUESTIONS {
        println!("   {line:<6} -> {:?}", calculate(line));
        assert_eq!(calculate(line), expected);
    }
    println!("2. one server, two applications");
    for (name, callback) in [("calculate", calculate as fn(&str) -> String), ("shout", shout)] {
        let (address, control, serving) = serve(callback).await?;
        let answers = bourn::task::spawn_blocking(move || ask(address, &QUESTIONS.map(|(line, _)| line)));
        let answers = answers.await.expect("no panic")?;
        println!("   {name:<10} over TCP: {answers:?}");
        assert_eq!(answers, QUESTIONS.map(|(line, _)| callback(line)), "the same as without a socket");
        control.drain();
        let report = serving.await.expect("no panic")?;
        assert_eq!((report.stats.finished, report.stats.failed), (1, 0));
    }
    println!("3. holds: the server has seen no number, the calculator no byte, and each is tested alone");
    Ok(())
}
