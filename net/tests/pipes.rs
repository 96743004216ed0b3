//! Pipes, and any other descriptor: every byte arrives, whoever waits is woken, and
//! readiness is cleared by `WouldBlock` alone.

mod harness;

use std::fs::{self, File};
use std::io::{ErrorKind, IoSlice, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::pin::pin;
use std::time::Duration;

use bourn_net::unix::pipe;
use bourn_net::{AsyncFd, Interest};
use futures_lite::{AsyncReadExt, AsyncWriteExt};

use harness::{both, elsewhere, kind, noise, on_every_backend, pends, polls};

/// A pipe of packets (pipe(2), `O_DIRECT`).
fn packets() -> (OwnedFd, OwnedFd) {
    let mut ends = [-1; 2];
    // SAFETY: there is room for two descriptors.
    assert_eq!(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_DIRECT | libc::O_CLOEXEC) }, 0);
    // SAFETY: they were just made.
    ends.map(|end| unsafe { OwnedFd::from_raw_fd(end) }).into()
}

fn eventfd() -> File {
    // SAFETY: no memory is passed.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    assert!(fd >= 0);
    // SAFETY: it was just made.
    unsafe { File::from_raw_fd(fd) }
}

on_every_backend! {
    async fn more_than_a_pipe_holds_arrives() {
        let (sender, receiver) = pipe::pipe().expect("descriptors");
        let data = noise(7, 1 << 20);
        let send = async {
            sender.write_all(&data[..300_000]).await.expect("it is read");
            let mut slices = [IoSlice::new(&data[300_000..500_000]), IoSlice::new(&[]), IoSlice::new(&data[500_000..])];
            sender.write_all_vectored(&mut slices).await.expect("it is read");
            drop(sender);
        };
        let receive = async {
            let mut start = vec![0; 1000];
            receiver.read_exact(&mut start).await.expect("more than that");
            receiver.read_to_end(&mut start).await.expect("the end");
            assert!(start == data, "changed on the way");
            assert_eq!(receiver.read(&mut [0; 8]).await.expect("still the end"), 0);
        };
        both(send, receive).await;
    }

    /// A read of a packet pipe ends at the end of the packet, with more behind.
    async fn every_byte_of_a_packet_pipe_arrives() {
        let (read, write) = packets();
        let receiver = pipe::Receiver::try_from(read).expect("an option");
        let sender = pipe::Sender::try_from(write).expect("an option");
        let mut all = Vec::new();
        let mut buf = [0; 100];
        {
            let mut read = pin!(receiver.read(&mut buf));
            assert!(pends(read.as_mut()).await);
            for packet in [&b"one"[..], b"two", b"three"] {
                assert_eq!(sender.write(packet).await.expect("room"), packet.len());
            }
            let length = read.await.expect("the first packet");
            assert_eq!(length, 3);
        }
        all.extend_from_slice(&buf[..3]);
        drop(sender);
        while let length @ 1.. = receiver.read(&mut buf).await.expect("the next packet") {
            all.extend_from_slice(&buf[..length]);
        }
        assert_eq!(all, b"onetwothree");
    }

    async fn generic_code_reads_and_writes_pipes() {
        let (mut sender, mut receiver) = pipe::pipe().expect("descriptors");
        AsyncWriteExt::write_all(&mut sender, b"hello").await.expect("room");
        AsyncWriteExt::close(&mut sender).await.expect("nothing to do");
        drop(sender);
        let mut all = String::new();
        AsyncReadExt::read_to_string(&mut receiver, &mut all).await.expect("text");
        assert_eq!(all, "hello");
    }

    async fn pipes_say_would_block_and_wait_it_out() {
        let (sender, receiver) = pipe::pipe().expect("descriptors");
        assert_eq!(kind(receiver.try_read(&mut [0])), Err(ErrorKind::WouldBlock));
        let mut filled = 0;
        while let Ok(written) = sender.try_write(&[1; 4096]) {
            filled += written;
        }
        assert_eq!(filled, 65_536);
        {
            let mut writable = pin!(sender.writable());
            assert!(pends(writable.as_mut()).await);
            let mut buf = vec![0; 65_536];
            receiver.read_exact(&mut buf).await.expect("full");
            writable.await.expect("room");
        }
        assert_eq!(sender.try_write(b"x").expect("room"), 1);
        let (writer, reader): (PipeWriter, PipeReader) = (sender.into_std(), receiver.into_std());
        let (sender, receiver) =
            (pipe::Sender::from_std(writer).expect("an option"), pipe::Receiver::from_std(reader).expect("an option"));
        receiver.read_exact(&mut [0]).await.expect("a byte");
        drop(receiver);
        // A thread that waits for it in poll(2) or select(2) holds it until it has left that call.
        let broken = loop {
            if let Err(error) = sender.write(b"x").await {
                break error.kind();
            }
        };
        assert_eq!(broken, ErrorKind::BrokenPipe);
    }

    async fn an_event_descriptor_is_waited_for() {
        let event = AsyncFd::new(eventfd()).expect("a descriptor");
        let mut buf = [0; 8];
        {
            let mut read = pin!(event.async_io(Interest::READ, || event.get_ref().read(&mut buf)));
            assert!(pends(read.as_mut()).await);
            let mut writer = event.get_ref();
            let before = polls();
            writer.write_all(&5_u64.to_ne_bytes()).expect("room");
            assert_eq!(read.await.expect("a number"), 8);
            assert!(polls() - before < 5, "{} polls", polls() - before);
        }
        assert_eq!(u64::from_ne_bytes(buf), 5);
        // Ready until an operation has said otherwise, and no longer.
        event.get_ref().write_all(&1_u64.to_ne_bytes()).expect("room");
        for _ in 0..3 {
            event.readable().await.expect("a number");
        }
        assert_eq!(event.try_io(Interest::READ, || event.get_ref().read(&mut buf)).expect("a number"), 8);
        event.readable().await.expect("not cleared yet");
        assert_eq!(kind(event.try_io(Interest::READ, || event.get_ref().read(&mut buf))), Err(ErrorKind::WouldBlock));
        assert!(pends(pin!(event.readable())).await);
        event.async_io(Interest::WRITE, || event.get_ref().write(&2_u64.to_ne_bytes())).await.expect("room");
        drop(event.into_inner());
    }

    /// An error of another kind leaves readiness as it was.
    async fn only_would_block_clears() {
        let (reader, mut writer) = std::io::pipe().expect("descriptors");
        let reader = AsyncFd::new(reader).expect("a descriptor");
        writer.write_all(b"x").expect("room");
        reader.readable().await.expect("a byte");
        let failed = reader.try_io(Interest::READ, || Err::<(), _>(ErrorKind::InvalidData.into()));
        assert_eq!(kind(failed), Err(ErrorKind::InvalidData));
        assert!(!pends(pin!(reader.readable())).await, "still ready");
    }

    async fn a_fifo_of_the_file_system_is_read() {
        let path = std::env::temp_dir().join(format!("bourn-fifo-{}-{:?}", std::process::id(), std::thread::current().id()));
        let name = std::ffi::CString::new(path.as_os_str().as_encoded_bytes()).expect("no NUL");
        // SAFETY: the name lives through the call.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        // Both ways, so that opening waits for nobody.
        let both_ways = File::options().read(true).write(true).open(&path).expect("it exists");
        let receiver = pipe::Receiver::try_from(OwnedFd::from(both_ways)).expect("an option");
        let mut buf = [0; 8];
        let mut read = pin!(receiver.read(&mut buf));
        assert!(pends(read.as_mut()).await);
        let write = elsewhere({
            let path = path.clone();
            move || fs::write(path, b"hello")
        });
        let (length, written) = both(read, write).await;
        written.expect("it exists");
        assert_eq!(length.expect("bytes"), 5);
        fs::remove_file(path).expect("it exists");
    }
}

#[test]
fn regular_files_are_refused_with_a_reason() {
    let file = File::open(std::env::current_exe().expect("a path")).expect("it exists");
    let error = AsyncFd::new(file).expect_err("no file can be polled");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("offload"), "{error}");
    assert_eq!(kind(AsyncFd::new(File::open("/").expect("it exists")).map(drop)), Err(ErrorKind::Unsupported));
}

#[test]
fn nothing_is_inherited_by_children() {
    let (sender, receiver) = pipe::pipe().expect("descriptors");
    let event = AsyncFd::new(eventfd()).expect("a descriptor");
    for fd in [sender.as_fd(), receiver.as_fd(), event.as_fd()] {
        // SAFETY: no memory is passed.
        let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFD) };
        assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
    }
}

mod alone {
    use super::*;

    on_every_backend! {
        alone;

        /// With the default action of SIGPIPE the process would be gone.
        async fn a_writer_to_a_closed_pipe_lives_with_the_default_sigpipe() {
            // SAFETY: no handler is installed; this process runs this test alone.
            unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
            let (sender, receiver) = pipe::pipe().expect("descriptors");
            drop(receiver);
            for _ in 0..2 {
                assert_eq!(kind(sender.write(b"x").await), Err(ErrorKind::BrokenPipe));
                assert_eq!(kind(sender.try_write(b"x")), Err(ErrorKind::BrokenPipe));
            }
            bourn_reactor::Sleep::after(Duration::from_millis(1)).await;
        }
    }
}
