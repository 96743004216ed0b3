//! What every public type is, checked at compile time.

use std::panic::{RefUnwindSafe, UnwindSafe};

use bourn_net::offload::Job;
use bourn_net::unix;
use bourn_net::{
    AsyncFd, CloseReport, ConnectAttempt, ConnectError, Cork, Incoming, Interest, Keepalive, OwnedReadHalf,
    OwnedWriteHalf, ReadHalf, Received, RecvBatch, ReuniteError, TcpInfo, TcpListener, TcpSocket, TcpStream, UdpSocket,
    UnixDatagram, UnixListener, UnixStream, WriteAllError, WriteHalf,
};

fn send<T: Send>() {}
fn sync<T: Sync>() {}
fn unpin<T: Unpin>() {}
fn unwind_safe<T: UnwindSafe + RefUnwindSafe>() {}
fn send_value<T: Send>(_: T) {}

macro_rules! table {
    ($($kind:ty: $($property:ident)*;)*) => {
        #[test]
        fn types_have_their_properties() {
            $($($property::<$kind>();)*)*
        }
    };
}

table! {
    TcpListener:     send sync unpin unwind_safe;
    TcpSocket:       send sync unpin unwind_safe;
    TcpStream:       send sync unpin unwind_safe;
    UdpSocket:       send sync unpin unwind_safe;
    UnixListener:    send sync unpin unwind_safe;
    UnixStream:      send sync unpin unwind_safe;
    UnixDatagram:    send sync unpin unwind_safe;
    TcpInfo:         send sync unpin unwind_safe;
    CloseReport:     send sync unpin;
    Cork<'_>:        send sync unpin unwind_safe;
    AsyncFd<std::fs::File>: send sync unpin unwind_safe;
    unix::pipe::Sender: send sync unpin unwind_safe;
    unix::pipe::Receiver: send sync unpin unwind_safe;
    unix::Credentials: send sync unpin unwind_safe;
    unix::ReadHalf<'_>: send sync unpin unwind_safe;
    unix::WriteHalf<'_>: send sync unpin unwind_safe;
    unix::OwnedReadHalf: send sync unpin unwind_safe;
    unix::OwnedWriteHalf: send sync unpin unwind_safe;
    unix::ReuniteError: send sync unpin unwind_safe;
    RecvBatch:       send sync unpin unwind_safe;
    Received<'_>:    send sync unpin unwind_safe;
    Incoming<'_>:    send sync unpin;
    ReadHalf<'_>:    send sync unpin unwind_safe;
    WriteHalf<'_>:   send sync unpin unwind_safe;
    OwnedReadHalf:   send sync unpin unwind_safe;
    OwnedWriteHalf:  send sync unpin unwind_safe;
    Keepalive:       send sync unpin unwind_safe;
    Interest:        send sync unpin unwind_safe;
    // They hold an `io::Error`, which promises no unwind safety.
    ConnectAttempt:  send sync unpin;
    ConnectError:    send sync unpin;
    WriteAllError:   send sync unpin;
    ReuniteError:    send sync unpin unwind_safe;
    Job:             send unpin;
}

/// The futures too, so that they can be spawned.
#[test]
fn futures_are_send() {
    fn of(stream: &TcpStream, listener: &TcpListener, buf: &'static mut [u8]) {
        send_value(stream.write_all(b"x"));
        send_value(stream.read_exact(buf));
        send_value(stream.readable());
        send_value(stream.ready(Interest::READ));
        send_value(stream.read_closed());
        send_value(listener.accept());
        send_value(listener.incoming().next());
        send_value(TcpStream::connect("localhost:1"));
        send_value(TcpListener::bind(("localhost", 1)));
    }
    let _ = of;

    fn of_ends(one: TcpStream, two: &'static TcpStream, offset: &'static mut u64) {
        send_value(one.close());
        send_value(two.acknowledged());
        send_value(bourn_net::copy_bidirectional(two, two));
        send_value(two.send_file(std::io::stdin(), offset, 1));
    }
    let _ = of_ends;

    fn of_datagrams(socket: &UdpSocket, batch: &'static mut RecvBatch, buf: &'static mut [u8]) {
        send_value(socket.recv_from(buf));
        send_value(socket.send_to(b"x", ([127, 0, 0, 1], 1).into()));
        send_value(socket.recv_batch(batch));
        send_value(socket.send_batch(&[]));
        send_value(UdpSocket::bind(("localhost", 1)));
    }
    let _ = of_datagrams;

    fn of_unix(listener: &UnixListener, socket: &UnixDatagram, stream: &UnixStream) {
        send_value(listener.accept());
        send_value(UnixStream::connect("/path"));
        send_value(stream.write_all(b"x"));
        send_value(socket.send_to(b"x", "/path"));
    }
    let _ = of_unix;
}
