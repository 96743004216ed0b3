//! A future with a limit.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bourn_reactor::{Sleep, budget};
use pin_project_lite::pin_project;

/// Limits `future` to `duration`, counted from this call.
///
/// # Errors
/// [`Elapsed`] if the future is not ready by then. If both are, the future wins.
///
/// # Cancel safety
/// That of the future: it is dropped with the returned one, which happens as well
/// when the time is over and the result has been awaited.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// # bourn::block_on(async {
/// let never = std::future::pending::<()>();
/// let limited = bourn::time::timeout(Duration::from_millis(2), never);
/// assert!(limited.await.is_err());
/// # });
/// ```
pub fn timeout<F: Future>(duration: Duration, future: F) -> Timeout<F> {
    Timeout { future, sleep: Sleep::after(duration) }
}

/// Limits `future` to `deadline`; otherwise like [`timeout`].
///
/// # Errors
/// As [`timeout`].
///
/// # Cancel safety
/// As [`timeout`].
pub fn timeout_at<F: Future>(deadline: Instant, future: F) -> Timeout<F> {
    Timeout { future, sleep: Sleep::until(deadline) }
}

pin_project! {
    /// The future of [`timeout`] and [`timeout_at`].
    #[derive(Debug)]
    #[must_use = "a time-out does nothing unless it is awaited"]
    pub struct Timeout<F> {
        #[pin]
        future: F,
        sleep: Sleep,
    }
}

impl<F> Timeout<F> {
    /// The future inside.
    pub fn get_ref(&self) -> &F {
        &self.future
    }

    /// The future inside.
    pub fn get_mut(&mut self) -> &mut F {
        &mut self.future
    }

    /// Gives the limit up.
    pub fn into_inner(self) -> F {
        self.future
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        // A future that spends the whole budget in each poll would otherwise keep
        // the sleep from ever saying that the time is over.
        if Pin::new(&mut *this.sleep).poll(cx).is_ready() || (budget::is_spent() && this.sleep.is_elapsed()) {
            return Poll::Ready(Err(Elapsed(())));
        }
        Poll::Pending
    }
}

/// The error of a [`timeout`] whose time is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elapsed(());

impl fmt::Display for Elapsed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the time is over")
    }
}

impl Error for Elapsed {}

impl From<Elapsed> for io::Error {
    fn from(elapsed: Elapsed) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, elapsed)
    }
}
