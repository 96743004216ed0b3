//! Rows 29 to 37 of docs/sockets.md: the states of a connection, and the queues of
//! a listener.

mod harness;

use std::net::{self, Shutdown, SocketAddr};
use std::pin::pin;

use bourn_net::{TcpListener, TcpSocket, TcpStream};

use harness::kernel::{self, state};
use harness::{is_calm, on_every_backend, pair, pends};

/// For how many seconds a listener defers accepting: longer than a test lasts, on however
/// busy a machine. When they are over, the connection is complete without data.
const LONG: libc::c_int = 60;

/// A listener that lets `backlog` connections wait, and one.
fn narrow(backlog: u32) -> (TcpListener, SocketAddr) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port is free");
    let addr = socket.local_addr().expect("it is bound");
    (socket.listen(backlog).expect("it is bound"), addr)
}

/// Writes until neither end has room for more; returns how much went.
async fn fill(from: &TcpStream, to: &TcpStream) -> usize {
    let mut accepted = 0;
    kernel::until(|| {
        let before = accepted;
        while let Ok(length) = from.try_write(&[7; 50_000]) {
            accepted += length;
        }
        accepted == before && kernel::unsent(from) > 0 && kernel::unread(to) > 0
    })
    .await;
    accepted
}

/// Reads to the end; returns how much came.
async fn drain(stream: &TcpStream) -> usize {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.expect("no error");
    all.len()
}

/// Which states the kernel's table has for the two ends of a connection.
fn walk(ends: (SocketAddr, SocketAddr)) -> (Option<u8>, Option<u8>) {
    let state = |local, remote| kernel::line(local, remote).map(|line| line.state);
    (state(ends.0, ends.1), state(ends.1, ends.0))
}

fn ends(stream: &TcpStream) -> (SocketAddr, SocketAddr) {
    (stream.local_addr().expect("a name"), stream.peer_addr().expect("a name"))
}

on_every_backend! {
    async fn row_29_a_handshake_has_three_steps() {
        let (listener, addr) = narrow(0);
        let _first = TcpStream::connect(addr).await.expect("a place");
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port is free");
        let own = socket.local_addr().expect("it is bound");
        let mut connecting = pin!(socket.connect(addr));
        assert!(pends(connecting.as_mut()).await);
        // The first step is not answered, for there is no room.
        assert_eq!(walk((own, addr)), (Some(state::SYN_SENT), None));
        let _server = listener.accept().await.expect("one waits");
        let client = connecting.await.expect("there is room");
        let established = (Some(state::ESTABLISHED), Some(state::ESTABLISHED));
        kernel::until(|| walk(ends(&client)) == established).await;
    }

    /// A server that defers accepting stays in the second step until there is
    /// data, whatever it is acknowledged.
    async fn row_29_the_second_step_has_a_state_of_its_own() {
        let (listener, addr) = narrow(8);
        kernel::set(&listener, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, LONG).expect("an option");
        let client = TcpStream::connect(addr).await.expect("a place");
        let (own, _) = ends(&client);
        assert_eq!(walk((own, addr)), (Some(state::ESTABLISHED), Some(state::SYN_RECV)));
        client.write_all(b"x").await.expect("there is room");
        let _server = listener.accept().await.expect("one waits");
        assert_eq!(walk((own, addr)), (Some(state::ESTABLISHED), Some(state::ESTABLISHED)));
    }

    async fn row_30_a_close_has_four_steps() {
        use state::*;
        let (one, other) = pair().await;
        let ends = ends(&one);
        let sent = fill(&one, &other).await;
        let answered = fill(&other, &one).await;
        assert_eq!(walk(ends), (Some(ESTABLISHED), Some(ESTABLISHED)));
        // The FIN waits behind data for which there is no room.
        one.shutdown(Shutdown::Write).expect("connected");
        assert_eq!(walk(ends), (Some(FIN_WAIT1), Some(ESTABLISHED)));
        assert_eq!(drain(&other).await, sent);
        kernel::until(|| walk(ends) == (Some(FIN_WAIT2), Some(CLOSE_WAIT))).await;
        // Half open: the other direction goes on.
        other.write_all(&[]).await.expect("nothing");
        other.shutdown(Shutdown::Write).expect("connected");
        assert_eq!(walk(ends), (Some(FIN_WAIT2), Some(LAST_ACK)));
        assert_eq!(drain(&one).await, answered);
        kernel::until(|| walk(ends) == (Some(TIME_WAIT), None)).await;
        assert_eq!(kernel::state_of(&other), CLOSE);
    }

    async fn row_30_both_may_close_at_once() {
        use state::*;
        let (one, other) = pair().await;
        let ends = ends(&one);
        let sent = fill(&one, &other).await;
        let answered = fill(&other, &one).await;
        one.shutdown(Shutdown::Write).expect("connected");
        other.shutdown(Shutdown::Write).expect("connected");
        assert_eq!(walk(ends), (Some(FIN_WAIT1), Some(FIN_WAIT1)));
        // Either FIN arrives before its sender's own is acknowledged.
        assert_eq!(drain(&one).await, answered);
        kernel::until(|| kernel::state_of(&one) == CLOSING).await;
        assert_eq!(drain(&other).await, sent);
        kernel::until(|| kernel::state_of(&other) == CLOSE).await;
    }

    async fn row_31_a_listener_has_two_queues() {
        let (listener, addr) = narrow(8);
        kernel::set(&listener, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, LONG).expect("an option");
        let half_open = || kernel::table(addr.port()).iter().filter(|line| line.local == addr && line.state == state::SYN_RECV).count();
        let complete = || kernel::info(&listener).tcpi_unacked;
        let mut clients = Vec::new();
        for _ in 0..3 {
            clients.push(TcpStream::connect(addr).await.expect("a place"));
        }
        kernel::until(|| (half_open(), complete()) == (3, 0)).await;
        clients[1].write_all(b"x").await.expect("there is room");
        kernel::until(|| (half_open(), complete()) == (2, 1)).await;
        let (_server, peer) = listener.accept().await.expect("one waits");
        assert_eq!(Some(peer), clients[1].local_addr().ok());
        kernel::until(|| (half_open(), complete()) == (2, 0)).await;
    }

    /// A myth: that a SYN wakes who waits for the listener. It takes a connection
    /// that is complete.
    async fn row_32_a_listener_wakes_when_the_handshake_is_done_and_not_before() {
        let (listener, addr) = narrow(8);
        kernel::set(&listener, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, LONG).expect("an option");
        let mut accept = pin!(listener.accept());
        assert!(pends(accept.as_mut()).await);
        let client = TcpStream::connect(addr).await.expect("a place");
        assert_eq!(walk(ends(&client)).1, Some(state::SYN_RECV));
        is_calm(&mut accept).await;
        assert_eq!(kernel::events(&listener, libc::POLLIN), 0);
        client.write_all(b"x").await.expect("there is room");
        let (_server, peer) = accept.await.expect("it is complete");
        assert_eq!(client.local_addr().ok(), Some(peer));
    }

    /// What the kernel says of SYN cookies; that they work is in `tests/heavy`.
    async fn row_34_syn_cookies_are_the_kernel_s() {
        let setting = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_syncookies").expect("procfs");
        assert!(["0", "1", "2"].contains(&setting.trim()), "{setting}");
        kernel::counter("SyncookiesSent");
    }

    /// A myth: `tcp_tw_recycle`, which Linux 4.12 has removed.
    async fn row_35_what_there_is_to_set_for_time_wait() {
        let path = |name| std::path::Path::new("/proc/sys/net/ipv4").join(name);
        assert!(!path("tcp_tw_recycle").exists());
        for name in ["tcp_tw_reuse", "tcp_max_tw_buckets", "tcp_fin_timeout"] {
            let value = std::fs::read_to_string(path(name)).expect("procfs");
            value.trim().parse::<u32>().expect("a number");
        }
    }

    async fn row_36_who_closes_first_is_left_with_time_wait() {
        for server_first in [true, false] {
            let (client, server) = pair().await;
            let ends = ends(&client);
            let (first, second) = if server_first { (server, client) } else { (client, server) };
            drop(first);
            assert_eq!(second.read(&mut [0]).await.expect("the end"), 0);
            drop(second);
            let left = Some(state::TIME_WAIT);
            let expected = if server_first { (None, left) } else { (left, None) };
            kernel::until(|| walk(ends) == expected).await;
        }
    }

    /// That they are reset instead, where the system is set so, is in `tests/heavy`.
    async fn row_37_connections_to_a_full_queue_wait_until_there_is_room() {
        let (listener, addr) = narrow(0);
        let _first = TcpStream::connect(addr).await.expect("a place");
        let mut second = pin!(TcpStream::connect(addr));
        assert!(pends(second.as_mut()).await);
        is_calm(&mut second).await;
        drop(listener.accept().await.expect("one waits"));
        let second = second.await.expect("there is room");
        let (_server, peer) = listener.accept().await.expect("one waits");
        assert_eq!(second.local_addr().ok(), Some(peer));
    }
}

mod alone {
    use super::*;

    on_every_backend! {
        alone;

        async fn row_33_the_kernel_shakes_hands_for_a_process_that_is_stopped() {
            let listener = net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
            let addr = listener.local_addr().expect("it is bound");
            // SAFETY: the child only makes a call that is async-signal-safe.
            let child = unsafe { libc::fork() };
            assert_ne!(child, -1);
            if child == 0 {
                loop {
                    // SAFETY: takes nothing, and returns when a signal comes.
                    unsafe { libc::pause() };
                }
            }
            // From here on the listener is the child's alone.
            drop(listener);
            // SAFETY: it is our child, and not waited for yet.
            assert_eq!(unsafe { libc::kill(child, libc::SIGSTOP) }, 0);
            let mut status = 0;
            // SAFETY: `status` is written to.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, libc::WUNTRACED) }, child);
            assert!(libc::WIFSTOPPED(status));
            let client = TcpStream::connect(addr).await.expect("the kernel answers");
            client.write_all(&[1; 10_000]).await.expect("there is room");
            kernel::until(|| kernel::unacknowledged(&client) == 0).await;
            assert_eq!(kernel::info(&client).tcpi_bytes_acked, 10_001, "with the SYN");
            // SAFETY: as above.
            assert_eq!(unsafe { libc::kill(child, libc::SIGKILL) }, 0);
            // SAFETY: as above.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            // Closing is the kernel's too: what was not read makes it a reset.
            let error = client.read(&mut [0]).await.expect_err("the queue is gone");
            assert_eq!(error.raw_os_error(), Some(libc::ECONNRESET));
            drop(client);
        }
    }
}
