//! Copying in the kernel: every byte arrives in order, and the end of one direction is
//! passed on while the other goes on.

mod harness;

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, Write};
use std::net::{self, Shutdown};
use std::pin::pin;
use std::time::{Duration, Instant};

use bourn_net::{TcpStream, copy_bidirectional};
use bourn_reactor::Sleep;
use futures_lite::future::or;
use socket2::SockRef;

use harness::{both, cpu_time, elsewhere, kind, noise, on_every_backend, pair_with_std, pends};

/// Two connections, of which ours are the ends to be joined.
async fn proxy() -> (TcpStream, net::TcpStream, TcpStream, net::TcpStream) {
    let ((front, client), (back, server)) = (pair_with_std().await, pair_with_std().await);
    (front, client, back, server)
}

fn file(data: &[u8]) -> File {
    let path =
        std::env::temp_dir().join(format!("bourn-splice-{}-{:?}", std::process::id(), std::thread::current().id()));
    let mut file = File::options().read(true).write(true).create(true).truncate(true).open(&path).expect("a new file");
    std::fs::remove_file(path).expect("it exists");
    file.write_all(data).expect("the disk has room");
    file.rewind().expect("a file");
    file
}

on_every_backend! {
    async fn row_08_both_directions_are_copied_in_the_kernel() {
        let (front, client, back, server) = proxy().await;
        let (question, answer) = (noise(1, 3 << 20), noise(2, 5 << 20));
        let run = |mut stream: net::TcpStream, out: Vec<u8>| {
            let mut reader = stream.try_clone().expect("a descriptor");
            let write = elsewhere(move || {
                stream.write_all(&out).expect("it is read");
                stream.shutdown(Shutdown::Write).expect("connected");
            });
            let read = elsewhere(move || {
                let mut all = Vec::new();
                reader.read_to_end(&mut all).expect("no reset");
                all
            });
            async { both(write, read).await.1 }
        };
        let ends = both(run(client, question.clone()), run(server, answer.clone()));
        let (copied, (at_client, at_server)) = both(copy_bidirectional(&front, &back), ends).await;
        assert_eq!(copied.expect("no error"), (question.len() as u64, answer.len() as u64));
        assert!(at_server == question && at_client == answer, "changed on the way");
    }

    /// The question ends before there is an answer to it.
    async fn row_08_one_end_is_passed_on_while_the_other_direction_goes_on() {
        let (front, mut client, back, mut server) = proxy().await;
        let ends = elsewhere(move || {
            client.write_all(b"question").expect("room");
            client.shutdown(Shutdown::Write).expect("connected");
            let mut question = String::new();
            server.read_to_string(&mut question).expect("the end comes through");
            server.write_all(question.to_uppercase().as_bytes()).expect("room");
            drop(server);
            let mut answer = String::new();
            client.read_to_string(&mut answer).expect("no reset");
            answer
        });
        let (copied, answer) = both(copy_bidirectional(&front, &back), ends).await;
        assert_eq!(copied.expect("no error"), (8, 8));
        assert_eq!(answer, "QUESTION");
    }

    /// splice(2) says 0 at the mark of urgent data, as it does at the end.
    async fn urgent_data_is_no_end() {
        let (front, mut client, back, mut server) = proxy().await;
        let ends = elsewhere(move || {
            for _ in 0..20 {
                client.write_all(b"aaaa").expect("room");
                assert_eq!(SockRef::from(&client).send_out_of_band(b"!").expect("room"), 1);
                client.write_all(b"bbbb").expect("room");
            }
            client.shutdown(Shutdown::Write).expect("connected");
            let mut all = Vec::new();
            server.read_to_end(&mut all).expect("no reset");
            all
        });
        let (copied, all) = both(copy_bidirectional(&front, &back), ends).await;
        // Each urgent byte that the next one overtook is part of the stream again
        // (tcp(7)).
        let without: Vec<u8> = all.iter().copied().filter(|byte| *byte != b'!').collect();
        assert_eq!(without, b"aaaabbbb".repeat(20));
        assert_eq!(copied.expect("no error").0, all.len() as u64);
    }

    async fn a_reset_ends_both_directions() {
        let (front, client, back, server) = proxy().await;
        let mut copy = pin!(copy_bidirectional(&front, &back));
        assert!(pends(copy.as_mut()).await);
        SockRef::from(&client).set_linger(Some(Duration::ZERO)).expect("an option");
        drop(client);
        assert_eq!(kind(copy.await), Err(ErrorKind::ConnectionReset));
        drop(server);
    }

    async fn row_08_a_file_is_sent_and_the_offset_follows() {
        let data = noise(3, 6 << 20);
        let file = file(&data);
        let (ours, mut peer) = pair_with_std().await;
        let mut offset = 1000;
        let expected = data[1000..].to_vec();
        {
            // Given up in mid-course, and gone on with.
            let mut send = pin!(ours.send_file(&file, &mut offset, u64::MAX));
            assert!(pends(send.as_mut()).await);
        }
        let before = offset - 1000;
        assert!(before > 0);
        let receive = elsewhere(move || {
            let mut all = vec![0; expected.len()];
            peer.read_exact(&mut all).expect("all of it");
            assert!(all == expected, "changed on the way");
            peer
        });
        let (sent, peer) = both(ours.send_file(&file, &mut offset, u64::MAX), receive).await;
        assert_eq!(before + sent.expect("no error"), data.len() as u64 - 1000);
        assert_eq!(offset, data.len() as u64);
        assert_eq!(ours.send_file(&file, &mut offset, 10).await.expect("the end of the file"), 0);
        offset = 5;
        assert_eq!(ours.send_file(&file, &mut offset, 10).await.expect("a part"), 10);
        drop(peer);
    }
}

mod alone {
    use super::*;

    on_every_backend! {
        alone;

        async fn copying_costs_nothing_while_nobody_reads_and_leaves_no_descriptor() {
            let before = harness::descriptors();
            let (front, mut client, back, server) = proxy().await;
            let joined = harness::descriptors();
            let fill = elsewhere(move || {
                client.set_nonblocking(true).expect("an option");
                while client.write(&[1; 65_536]).is_ok() {}
                client
            });
            let client = {
                let mut copy = pin!(copy_bidirectional(&front, &back));
                let client = or(async { panic!("{:?}", (&mut copy).await) }, fill).await;
                or(async { panic!("{:?}", (&mut copy).await) }, Sleep::after(Duration::from_millis(300))).await;
                let (start, cpu) = (Instant::now(), cpu_time());
                or(async { panic!("{:?}", (&mut copy).await) }, Sleep::after(Duration::from_secs(1))).await;
                let (spent, passed) = (cpu_time() - cpu, start.elapsed());
                assert!(spent * 20 < passed, "{spent:?} of {passed:?}");
                client
            };
            // Given up: the pipes are gone, the streams live.
            assert!(harness::descriptors() <= joined + 8);
            drop((front, client, back, server));
            // What the reactors keep is theirs.
            assert!(harness::descriptors() <= before + 8);
        }

        /// With the default action of SIGPIPE the process would be gone.
        async fn a_splice_to_a_reset_peer_lives_with_the_default_sigpipe() {
            // SAFETY: no handler is installed; this process runs this test alone.
            unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
            let file = file(&noise(4, 1 << 20));
            let (ours, peer) = pair_with_std().await;
            ours.shutdown(Shutdown::Write).expect("connected");
            assert_eq!(kind(ours.send_file(&file, &mut 0, 10).await), Err(ErrorKind::BrokenPipe));
            drop(peer);
            let (front, mut client, back, server) = proxy().await;
            back.shutdown(Shutdown::Write).expect("connected");
            client.write_all(b"to nobody").expect("room");
            assert_eq!(kind(copy_bidirectional(&front, &back).await), Err(ErrorKind::BrokenPipe));
            drop(server);
            Sleep::after(Duration::from_millis(1)).await;
        }
    }
}
