//! What every kind of socket has: its readiness, and its descriptor.

/// Methods that wait for reports, for a type with a field `socket`.
macro_rules! readiness_methods {
    ($kind:ident $(<$generic:ident>)?) => {
        /// Waiting without an operation.
        impl$(<$generic>)? $kind$(<$generic>)? {
            /// Ready when something was reported of a direction in `interest` that no
            /// operation has cleared since; returns what of `interest` that is.
            ///
            /// It may be spurious: only the operation knows. So try it, with `try_read`
            /// and the like, and wait again if it says `WouldBlock`.
            ///
            /// # Errors
            /// What the kernel says when the socket can not be registered.
            ///
            /// # Cancel safety
            /// Nothing is lost.
            pub async fn ready(&self, interest: bourn_reactor::Interest) -> std::io::Result<bourn_reactor::Interest> {
                self.socket.ready(interest).await
            }

            /// Waits until a read would do something: there is data, the end, or an
            /// error. See [`ready`](Self::ready).
            ///
            /// # Errors
            /// As `ready`.
            ///
            /// # Cancel safety
            /// Nothing is lost.
            pub async fn readable(&self) -> std::io::Result<()> {
                self.socket.reported(bourn_reactor::Direction::Read).await
            }

            /// Waits until a write would do something: there is room, or an error. See
            /// [`ready`](Self::ready).
            ///
            /// # Errors
            /// As `ready`.
            ///
            /// # Cancel safety
            /// Nothing is lost.
            pub async fn writable(&self) -> std::io::Result<()> {
                self.socket.reported(bourn_reactor::Direction::Write).await
            }

            /// The `poll` form of [`readable`](Self::readable). Up to 32 tasks may
            /// wait in each direction by the `poll_*` methods; all of them are woken.
            ///
            /// # Errors
            /// As `ready`.
            pub fn poll_read_ready(&self, cx: &mut std::task::Context<'_>) -> std::task::Poll<std::io::Result<()>> {
                self.socket.poll_reported(cx, bourn_reactor::Direction::Read, &mut bourn_reactor::Ticket::shared())
            }

            /// The `poll` form of [`writable`](Self::writable); see
            /// [`poll_read_ready`](Self::poll_read_ready) for its place.
            ///
            /// # Errors
            /// As `ready`.
            pub fn poll_write_ready(&self, cx: &mut std::task::Context<'_>) -> std::task::Poll<std::io::Result<()>> {
                self.socket.poll_reported(cx, bourn_reactor::Direction::Write, &mut bourn_reactor::Ticket::shared())
            }

            /// Runs `operation`, which is to be non-blocking input or output on this
            /// socket's descriptor. If it says `WouldBlock`, what was known of the
            /// directions in `interest` is cleared, so that [`ready`](Self::ready)
            /// waits for news. That includes an end that was reported: so let it be the
            /// kernel's `WouldBlock`, not one that `operation` makes up.
            ///
            /// # Errors
            /// Those of `operation`.
            pub fn try_io<R>(
                &self,
                interest: bourn_reactor::Interest,
                operation: impl FnOnce() -> std::io::Result<R>,
            ) -> std::io::Result<R> {
                self.socket.try_io(interest, |_| operation())
            }
        }
    };
}

/// The conversions to and from a descriptor and std's `$std`, for a type with a field
/// `socket`. `$adopt` makes one of a descriptor that is non-blocking.
macro_rules! descriptor_traits {
    ($kind:ident, $std:ty, $adopt:expr) => {
        impl $kind {
            /// Takes it over from std and sets it to non-blocking; other options stay as
            /// they are, except where the type says what it sets.
            ///
            /// # Errors
            /// What the kernel says to that.
            pub fn from_std(owner: $std) -> std::io::Result<$kind> {
                std::os::fd::OwnedFd::from(owner).try_into()
            }

            /// Hands it over to std. It stays non-blocking.
            pub fn into_std(self) -> $std {
                std::os::fd::OwnedFd::from(self).into()
            }
        }

        /// As `from_std`: the descriptor has to be of the kind that the type says, or the
        /// operations fail.
        impl TryFrom<std::os::fd::OwnedFd> for $kind {
            type Error = std::io::Error;

            fn try_from(fd: std::os::fd::OwnedFd) -> std::io::Result<$kind> {
                $crate::sys::option(&fd)?.set_nonblocking(true)?;
                $adopt(fd)
            }
        }

        $crate::readiness::lends_descriptor!($kind);
    };
}

/// The traits of a type with a field `socket` that is, or has, a descriptor.
macro_rules! lends_descriptor {
    ($kind:ident) => {
        impl std::os::fd::AsFd for $kind {
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                self.socket.as_fd()
            }
        }

        impl std::os::fd::AsRawFd for $kind {
            fn as_raw_fd(&self) -> std::os::fd::RawFd {
                std::os::fd::AsRawFd::as_raw_fd(&self.socket.as_fd())
            }
        }

        impl From<$kind> for std::os::fd::OwnedFd {
            fn from(owner: $kind) -> std::os::fd::OwnedFd {
                owner.socket.into()
            }
        }
    };
}

pub(crate) use {descriptor_traits, lends_descriptor, readiness_methods};
