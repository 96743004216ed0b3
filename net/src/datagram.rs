//! What UDP sockets and Unix datagram sockets share.

use std::net::SocketAddr;
use std::os::unix::net::SocketAddr as UnixAddr;

use libc::MSG_PEEK;

use crate::operation::operations;
use crate::sys;
use crate::udp::UdpSocket;
use crate::unix::UnixDatagram;

/// Receiving, and sending to the connected peer, for a type with a field `socket`
/// whose peers have addresses of type `$addr`, made by `$address`.
macro_rules! datagram_operations {
    ($kind:ty, $addr:ty, $address:path) => {
        operations! {
            /// Receiving. One datagram at a time: what does not fit the buffer is lost.
            $kind {
                /// Receives a datagram; returns its length, which may be 0.
                ///
                /// # Errors
                /// What the kernel says; after it has told of an error, such as a
                /// peer that refuses, the socket works on.
                ///
                /// # Cancel safety
                /// Nothing is lost.
                recv, poll_recv, try_recv(buf: &mut [u8]) -> usize =
                    Read, |fd| sys::recv_datagram(fd, buf, 0);
                /// Receives a datagram and the address of its sender.
                ///
                /// # Errors
                /// As [`recv`](Self::recv).
                ///
                /// # Cancel safety
                /// Nothing is lost.
                recv_from, poll_recv_from, try_recv_from(buf: &mut [u8]) -> (usize, $addr) =
                    Read, |fd| sys::recv_from(fd, buf, 0, $address);
                /// Like [`recv`](Self::recv), but leaves the datagram in the queue.
                ///
                /// # Errors
                /// As `recv`.
                ///
                /// # Cancel safety
                /// Nothing is lost.
                peek, poll_peek, try_peek(buf: &mut [u8]) -> usize =
                    Read, |fd| sys::recv_datagram(fd, buf, MSG_PEEK);
                /// Like [`recv_from`](Self::recv_from), but leaves the datagram in the
                /// queue.
                ///
                /// # Errors
                /// As `recv`.
                ///
                /// # Cancel safety
                /// Nothing is lost.
                peek_from, poll_peek_from, try_peek_from(buf: &mut [u8]) -> (usize, $addr) =
                    Read, |fd| sys::recv_from(fd, buf, MSG_PEEK, $address);
            }
        }

        operations! {
            /// Sending to the connected peer.
            $kind {
                /// Sends a datagram, which may be empty, to the peer that the socket is
                /// connected to; returns its length.
                ///
                /// # Errors
                /// [`NotConnected`](std::io::ErrorKind::NotConnected) if there is no such
                /// peer (or, as a kernel error of no kind, `EDESTADDRREQ`), the length
                /// if it is too long (`EMSGSIZE`), and others of send(2).
                ///
                /// # Cancel safety
                /// Nothing is sent unless the future completes.
                send, poll_send, try_send(buf: &[u8]) -> usize = Write, |fd| sys::send_to(fd, buf, None);
            }
        }
    };
}

datagram_operations!(UdpSocket, SocketAddr, sys::internet);
datagram_operations!(UnixDatagram, UnixAddr, sys::unix);
