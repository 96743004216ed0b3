//! Operations that make one call, each in three forms.

/// The operations of a table, for a type with a field `socket`: the form that waits,
/// which a row's documentation is of, its `poll` form, and the one that does not wait.
macro_rules! operations {
    ($(#[$heading:meta])* $kind:ty {$(
        $(#[$about:meta])*
        $wait:ident, $poll:ident, $try:ident($($arg:ident: $of:ty),*) -> $done:ty = $direction:ident, $call:expr;
    )*}) => {
        $(#[$heading])*
        impl $kind {$(
            $(#[$about])*
            pub async fn $wait(&self $(, $arg: $of)*) -> std::io::Result<$done> {
                self.socket.operate(crate::socket::$direction, $call).await
            }

            #[doc = concat!(" The `poll` form of [`", stringify!($wait), "`](Self::", stringify!($wait), "). Up to 32")]
            /// tasks may wait in each direction by the `poll_*` methods; all of them are woken.
            ///
            /// # Errors
            #[doc = concat!(" As `", stringify!($wait), "`.")]
            pub fn $poll(
                &self,
                cx: &mut std::task::Context<'_>
                $(, $arg: $of)*
            ) -> std::task::Poll<std::io::Result<$done>> {
                let ticket = &mut bourn_reactor::Ticket::shared();
                self.socket.poll_io(cx, bourn_reactor::Direction::$direction, ticket, $call)
            }

            #[doc = concat!(" Like [`", stringify!($wait), "`](Self::", stringify!($wait), "), but does not wait.")]
            ///
            /// # Errors
            /// [`WouldBlock`](std::io::ErrorKind::WouldBlock) if it would have to; otherwise as
            #[doc = concat!(" `", stringify!($wait), "`.")]
            pub fn $try(&self $(, $arg: $of)*) -> std::io::Result<$done> {
                self.socket.try_io(bourn_reactor::Direction::$direction.into(), $call)
            }
        )*}
    };
}

pub(crate) use operations;
