//! Where the bytes are when the reader is slow: in the sender's kernel, in the receiver's kernel, or not yet written.
//!
//! The writer wants to send 12 MiB as fast as it can. The reader begins only when
//! the writer has been stuck for a while, and then takes what is there every 5 ms. Rows 7, 44 and 46 of the sockets checklist.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bourn::net::{TcpListener, TcpStream};
use bourn::time::sleep;
use bourn_examples::picture::{self, Axis};

const TOTAL: usize = 12 << 20;

/// What the kernel holds of a socket: SIOCOUTQ, written and not acknowledged; SIOCINQ, received and not read (tcp(7)).
fn queued(stream: &TcpStream, queue: libc::Ioctl) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: both requests store an int, and there is one.
    let outcome = unsafe { libc::ioctl(stream.as_raw_fd(), queue, &raw mut bytes) };
    if outcome < 0 { Err(io::Error::last_os_error()) } else { Ok(bytes as usize) }
}

#[bourn::main]
async fn main() -> picture::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let writer = Arc::new(TcpStream::connect(listener.local_addr()?).await?);
    let reader = Arc::new(listener.accept().await?.0);
    let (written, read, waits) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default(), AtomicUsize::new(0));
    let waits = Arc::new(waits);
    println!("1. a writer that could send {} MiB at once; the reader does nothing", TOTAL >> 20);

    let began = Instant::now();
    let write = {
        let (writer, written, waits) = (writer.clone(), written.clone(), waits.clone());
        bourn::spawn(async move {
            let chunk = vec![7; 64 << 10];
            while written.load(Relaxed) < TOTAL {
                match writer.try_write(&chunk[..chunk.len().min(TOTAL - written.load(Relaxed))]) {
                    Ok(length) => _ = written.fetch_add(length, Relaxed),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        waits.fetch_add(1, Relaxed);
                        writer.writable().await?; // backpressure: this task sleeps until there is room
                    }
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        })
    };
    let (tell, stuck) = async_channel::bounded::<()>(1);
    let slow = {
        let (reader, read) = (reader.clone(), read.clone());
        bourn::spawn(async move {
            _ = stuck.recv().await;
            let mut buf = vec![0; 256 << 10];
            while read.load(Relaxed) < TOTAL {
                read.fetch_add(reader.read(&mut buf).await?, Relaxed);
                sleep(Duration::from_millis(5)).await;
            }
            io::Result::Ok(())
        })
    };

    let mut curves = [const { Vec::new() }; 4];
    let (mut full, mut last, mut same) = (None, 0, 0);
    while read.load(Relaxed) < TOTAL {
        sleep(Duration::from_millis(10)).await;
        let (send, receive) = (queued(&writer, libc::TIOCOUTQ)?, queued(&reader, libc::FIONREAD)?);
        let at = began.elapsed().as_secs_f64() * 1e3;
        let (written, read) = (written.load(Relaxed), read.load(Relaxed));
        for (curve, bytes) in curves.iter_mut().zip([written, send, receive, read]) {
            curve.push((at, bytes as f64 / f64::from(1 << 20)));
        }
        same = if written == last { same + 1 } else { 0 };
        last = written;
        if same == 30 && full.is_none() {
            println!("2. after {at:.0} ms: {written} bytes written, none read, the writer sleeps in writable()");
            println!("   {send} of them in the sender's kernel, {receive} in the receiver's");
            full = Some((written, send, receive, read, waits.load(Relaxed)));
            _ = tell.send(()).await;
        }
    }
    write.await.expect("no panic")?;
    slow.await.expect("no panic")?;
    println!(
        "3. everything read after {} ms; the writer had to wait {} times",
        began.elapsed().as_millis(),
        waits.load(Relaxed)
    );

    let [written, send, receive, read] = curves;
    let x = Axis { label: "time (ms)", logarithmic: false };
    let y = Axis { label: "bytes (MiB)", logarithmic: false };
    let curves = [
        ("written by the program, in all", written),
        ("in the sender's kernel", send),
        ("in the receiver's kernel", receive),
        ("read by the program, in all", read),
    ];
    picture::lines("buffers_and_backpressure", "A slow reader slows the writer down: 12 MiB", x, y, &curves)?;

    let (written, send, receive, read, waits) = full.expect("a sample before the reader began");
    assert!(read == 0 && waits > 0, "the writer waits although nobody has read");
    assert!(written < TOTAL, "the kernel takes only what its buffers hold");
    assert_eq!(written, send + receive, "what was written and not read is in one of the two kernels, every byte of it");
    println!("4. holds: write means \"the kernel has it\", and a full kernel is what slows the writer down");
    Ok(())
}
