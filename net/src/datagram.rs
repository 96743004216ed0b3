//! What UDP sockets and Unix datagram sockets share.

/// Receiving, and sending to the connected peer, for a type with a field `socket`
/// whose peers have addresses of type `$addr`, made by `$address`.
macro_rules! datagram_methods {
    ($kind:ident, $addr:ty, $address:path) => {
        /// Receiving. One datagram at a time: what does not fit the buffer is lost.
        impl $kind {
            /// Receives a datagram; returns its length, which may be 0.
            ///
            /// # Errors
            /// What the kernel says; after it has told of an error, such as a
            /// peer that refuses, the socket works on.
            ///
            /// # Cancel safety
            /// Nothing is lost.
            pub async fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
                self.socket.operate(Direction::Read, |fd| sys::recv_datagram(fd, buf, Queue::Take)).await
            }

            /// The `poll` form of [`recv`](Self::recv); see
            /// [`poll_read_ready`](Self::poll_read_ready) for its place.
            ///
            /// # Errors
            /// As `recv`.
            pub fn poll_recv(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
                self.socket
                    .poll_io(cx, Direction::Read, &mut Ticket::shared(), |fd| sys::recv_datagram(fd, buf, Queue::Take))
            }

            /// Receives a datagram that is there already.
            ///
            /// # Errors
            /// [`WouldBlock`](io::ErrorKind::WouldBlock) if none is; otherwise as
            /// [`recv`](Self::recv).
            pub fn try_recv(&self, buf: &mut [u8]) -> io::Result<usize> {
                self.socket.try_io(Interest::READ, |fd| sys::recv_datagram(fd, buf, Queue::Take))
            }

            /// Receives a datagram and the address of its sender.
            ///
            /// # Errors
            /// As [`recv`](Self::recv).
            ///
            /// # Cancel safety
            /// Nothing is lost.
            pub async fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, $addr)> {
                self.wait_from(buf, Queue::Take).await
            }

            /// The `poll` form of [`recv_from`](Self::recv_from).
            ///
            /// # Errors
            /// As `recv`.
            pub fn poll_recv_from(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<(usize, $addr)>> {
                let received = self
                    .socket
                    .poll_io(cx, Direction::Read, &mut Ticket::shared(), |fd| sys::recv_from(fd, buf, Queue::Take));
                received.map(sent_by)
            }

            /// Receives a datagram that is there already, and the address of its
            /// sender.
            ///
            /// # Errors
            /// As [`try_recv`](Self::try_recv).
            pub fn try_recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, $addr)> {
                sent_by(self.socket.try_io(Interest::READ, |fd| sys::recv_from(fd, buf, Queue::Take)))
            }

            /// Like [`recv`](Self::recv), but leaves the datagram in the queue.
            ///
            /// # Errors
            /// As `recv`.
            ///
            /// # Cancel safety
            /// Nothing is lost.
            pub async fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
                self.socket.operate(Direction::Read, |fd| sys::recv_datagram(fd, buf, Queue::Leave)).await
            }

            /// Like [`recv_from`](Self::recv_from), but leaves the datagram in the
            /// queue.
            ///
            /// # Errors
            /// As `recv`.
            ///
            /// # Cancel safety
            /// Nothing is lost.
            pub async fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, $addr)> {
                self.wait_from(buf, Queue::Leave).await
            }

            /// Like [`try_recv_from`](Self::try_recv_from), but leaves the datagram
            /// in the queue.
            ///
            /// # Errors
            /// As `try_recv`.
            pub fn try_peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, $addr)> {
                sent_by(self.socket.try_io(Interest::READ, |fd| sys::recv_from(fd, buf, Queue::Leave)))
            }

            async fn wait_from(&self, buf: &mut [u8], queue: Queue) -> io::Result<(usize, $addr)> {
                sent_by(self.socket.operate(Direction::Read, |fd| sys::recv_from(fd, buf, queue)).await)
            }
        }

        /// Sending to the connected peer.
        impl $kind {
            /// Sends a datagram, which may be empty, to the peer that the socket is
            /// connected to; returns its length.
            ///
            /// # Errors
            /// [`NotConnected`](io::ErrorKind::NotConnected) if there is no such
            /// peer (or, as a kernel error of no kind, `EDESTADDRREQ`), the length
            /// if it is too long (`EMSGSIZE`), and others of send(2).
            ///
            /// # Cancel safety
            /// Nothing is sent unless the future completes.
            pub async fn send(&self, buf: &[u8]) -> io::Result<usize> {
                self.socket.operate(Direction::Write, |fd| sys::send_to(fd, buf, None)).await
            }

            /// The `poll` form of [`send`](Self::send).
            ///
            /// # Errors
            /// As `send`.
            pub fn poll_send(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                self.socket.poll_io(cx, Direction::Write, &mut Ticket::shared(), |fd| sys::send_to(fd, buf, None))
            }

            /// Sends a datagram if there is room for it now.
            ///
            /// # Errors
            /// [`WouldBlock`](io::ErrorKind::WouldBlock) if there is none; otherwise
            /// as [`send`](Self::send).
            pub fn try_send(&self, buf: &[u8]) -> io::Result<usize> {
                self.socket.try_io(Interest::WRITE, |fd| sys::send_to(fd, buf, None))
            }
        }

        fn sent_by(received: io::Result<(usize, SockAddr)>) -> io::Result<(usize, $addr)> {
            let (length, sender) = received?;
            Ok((length, $address(&sender)?))
        }
    };
}

pub(crate) use datagram_methods;
