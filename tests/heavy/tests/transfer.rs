//! Much data through small buffers: all of it arrives, and memory stays flat.

use std::hash::{DefaultHasher, Hasher};
use std::time::{Duration, Instant};

use bourn::net::{TcpSocket, TcpStream};
use bourn_heavy::{child, is_child, on_every_backend, resident, succeeded};

const MEBIBYTE: usize = 1024 * 1024;
const BUFFER: usize = 4096;

async fn pair() -> (TcpStream, TcpStream) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(BUFFER).unwrap();
    socket.set_send_buffer_size(BUFFER).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(16).unwrap();
    let near = TcpSocket::new_v4().unwrap();
    near.set_recv_buffer_size(BUFFER).unwrap();
    near.set_send_buffer_size(BUFFER).unwrap();
    let near = near.connect(listener.local_addr().unwrap()).await.unwrap();
    let (far, _) = listener.accept().await.unwrap();
    (near, far)
}

/// Bytes that differ from place to place (xorshift64).
struct Bytes(u64);

impl Bytes {
    fn fill(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            chunk.copy_from_slice(&self.0.to_le_bytes()[..chunk.len()]);
        }
    }
}

async fn send(stream: &TcpStream, seed: u64, total: usize) -> u64 {
    let mut bytes = Bytes(seed);
    let mut hash = DefaultHasher::new();
    let mut left = total;
    // Odd, so that no boundary falls together with one of the kernel's.
    let mut buffer = vec![0; 70_001];
    while left > 0 {
        let length = left.min(buffer.len());
        bytes.fill(&mut buffer[..length]);
        hash.write(&buffer[..length]);
        stream.write_all(&buffer[..length]).await.unwrap();
        left -= length;
    }
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    hash.finish()
}

async fn receive(stream: &TcpStream, total: usize) -> u64 {
    let mut hash = DefaultHasher::new();
    let mut received = 0;
    let mut buffer = vec![0; 70_001];
    loop {
        // Gathered as the sender hashed it: in pieces of the same length.
        let mut filled = 0;
        while filled < buffer.len() {
            match stream.read(&mut buffer[filled..]).await.unwrap() {
                0 => break,
                length => filled += length,
            }
        }
        received += filled;
        if filled == 0 {
            break;
        }
        hash.write(&buffer[..filled]);
    }
    assert_eq!(received, total);
    hash.finish()
}

#[test]
fn sixty_four_mebibytes_each_way_at_once() {
    const TOTAL: usize = 64 * MEBIBYTE;
    on_every_backend("64 MiB each way", || async {
        let (near, far) = pair().await;
        let far_task =
            bourn::spawn(async move { futures_lite::future::zip(send(&far, 11, TOTAL), receive(&far, TOTAL)).await });
        let (near_sent, near_received) = futures_lite::future::zip(send(&near, 7, TOTAL), receive(&near, TOTAL)).await;
        let (far_sent, far_received) = far_task.await.unwrap();
        assert_eq!(near_sent, far_received);
        assert_eq!(far_sent, near_received);
    });
}

/// The writer waits for a reader that takes a little now and then: what it has not
/// written yet is not buffered anywhere.
#[test]
fn a_slow_reader_costs_no_memory() {
    if !is_child() {
        succeeded(child("a_slow_reader_costs_no_memory", &[]).output().unwrap());
        return;
    }
    on_every_backend("a slow reader", || async {
        let (near, far) = pair().await;
        let before = resident();
        let writer = bourn::spawn(async move { send(&near, 3, 8 * MEBIBYTE).await });
        let mut read = 0;
        let mut buffer = vec![0; 64 * 1024];
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(2) {
            read += far.read(&mut buffer).await.unwrap();
            bourn::time::sleep(Duration::from_millis(1)).await;
            assert!(!writer.is_finished(), "8 MiB went through a reader that took {read} bytes");
            if read > 4 * MEBIBYTE {
                break;
            }
        }
        let grown = resident().saturating_sub(before);
        assert!(grown < MEBIBYTE, "{grown} bytes more memory with a slow reader");
        drop(far);
        // The writer ends with the peer's reset, not with a hang.
        assert!(writer.await.is_err());
    });
}
