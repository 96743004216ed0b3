//! When is a dead peer noticed? Four connections whose peers fall silent at the same moment.
//!
//! A peer "dies" by a filter on its socket that drops every packet: it neither answers nor acknowledges, like a machine
//! without power. No privilege is needed. Rows 66 and 74 of the sockets checklist.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use bourn::net::Keepalive;
use bourn::task::JoinSet;
use bourn::time::timeout;

/// From now on this socket hears nothing (socket(7), SO_ATTACH_FILTER).
fn die(peer: &TcpStream) -> io::Result<()> {
    // One instruction: "return 0", that is, keep 0 bytes of the packet.
    let mut drop_all = [libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: 0 }];
    attach(peer, &mut drop_all)
}

fn attach(socket: &impl AsRawFd, filter: &mut [libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    let (length, option) = (size_of_val(&program) as u32, libc::SO_ATTACH_FILTER);
    let value = (&raw const program).cast();
    // SAFETY: the program points at as many instructions as it says, and the kernel copies them.
    let outcome = unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, value, length) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[bourn::main]
async fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let names = [
        "nothing set, silent",
        "nothing set, writes",
        "keepalive 1 s + 3 x 1 s, silent",
        "TCP_USER_TIMEOUT 2 s, writes",
    ];
    let mut peers = Vec::new();
    let mut waits = JoinSet::new();
    println!("1. four connections; the kernel's own keepalive, if somebody turns it on: 7,200 s + 9 x 75 s");
    let begin = Instant::now();
    for (number, name) in names.into_iter().enumerate() {
        let stream = TcpStream::connect(listener.local_addr()?)?;
        peers.push(listener.accept()?.0);
        if number == 3 {
            socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(Duration::from_secs(2)))?;
        }
        stream.set_nonblocking(true)?;
        let stream = bourn::net::TcpStream::from_std(stream)?;
        if number == 2 {
            let second = Duration::from_secs(1);
            stream.set_keepalive(Some(Keepalive { idle: second, interval: second, count: 3 }))?;
        }
        die(&peers[number])?;
        let writes = number % 2 == 1;
        waits.spawn(async move {
            if writes {
                stream.write_all(b"are you there?").await?; // succeeds: the kernel will go on trying
            }
            let outcome = timeout(Duration::from_secs(7), stream.read(&mut [0; 16])).await;
            io::Result::Ok((number, name, begin.elapsed(), outcome))
        });
    }
    println!("2. all peers are dead from now on");
    let mut noticed = [None; 4];
    while let Some(wait) = waits.join_next().await {
        let (number, name, after, outcome) = wait.expect("no panic")?;
        let told = match &outcome {
            Ok(Ok(length)) => format!("read = {length}"),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "still believes in its peer".into(),
        };
        println!("   {:>4.1} s  {name:<32} {told}", after.as_secs_f64());
        if let Ok(Err(error)) = outcome {
            assert_eq!(error.raw_os_error(), Some(libc::ETIMEDOUT));
            noticed[number] = Some(after);
        }
    }
    assert!(noticed[0].is_none(), "nobody asks, so nobody notices: for ever");
    assert!(noticed[1].is_none(), "unanswered data are repeated for about 15 minutes (tcp_retries2)");
    // Lower bounds only: a busy machine may be late.
    assert!(noticed[2].expect("keepalive notices") >= Duration::from_secs(3));
    assert!(noticed[3].expect("the user timeout notices") >= Duration::from_secs(2));
    println!(
        "3. holds: a silent connection needs keepalive, a writing one needs TCP_USER_TIMEOUT; neither is on by itself"
    );
    drop(peers);
    Ok(())
}
