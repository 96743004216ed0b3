//! What the attributes make of a function, compiled and run against a stand-in for the crate `bourn` that records how it
//! was called. The real crate runs the same attributes in its own tests.

// What the attributes add must not trip over the lints of the crate that uses them.
#![deny(clippy::all, clippy::pedantic, clippy::expect_used, clippy::unwrap_used)]
#![deny(warnings)]

use std::num::ParseIntError;

/// As much of `bourn` as an expansion names.
mod stand_in {
    use std::cell::Cell;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Backend {
        Epoll,
        Poll,
        Select,
        Mio,
    }

    thread_local! {
        static CHOSEN: Cell<Option<Backend>> = const { Cell::new(None) };
    }

    /// The backend of the runtime that runs this thread; `None` if the choice was left to the builder.
    pub fn chosen() -> Option<Backend> {
        CHOSEN.get()
    }

    pub mod runtime {
        use std::future::Future;
        use std::io;
        use std::pin::pin;
        use std::task::{Context, Poll, Waker};

        use super::{Backend, CHOSEN};

        pub struct Builder(Option<Backend>);
        #[derive(Debug)]
        pub struct Runtime(Option<Backend>);

        impl Builder {
            pub fn new_current_thread() -> Self {
                Self(None)
            }

            pub fn backend(&mut self, backend: Backend) -> &mut Self {
                self.0 = Some(backend);
                self
            }

            #[allow(clippy::unnecessary_wraps)] // the real one can fail
            pub fn build(&mut self) -> io::Result<Runtime> {
                Ok(Runtime(self.0))
            }
        }

        impl Runtime {
            pub fn block_on<F: Future>(&self, future: F) -> F::Output {
                CHOSEN.set(self.0);
                let mut context = Context::from_waker(Waker::noop());
                match pin!(future).poll(&mut context) {
                    Poll::Ready(output) => output,
                    Poll::Pending => panic!("these bodies never wait"),
                }
            }
        }
    }
}

use stand_in::{Backend, chosen};

#[allow(clippy::unused_async)] // a body needs something to await
async fn one() -> u32 {
    1
}

#[allow(clippy::unused_async)] // likewise
async fn parse(text: &str) -> Result<u32, ParseIntError> {
    text.parse()
}

#[bourn_macros::main(crate = "stand_in")]
async fn returns_what_the_body_returns() -> u32 {
    one().await + one().await
}

#[test]
fn main_returns_what_the_body_returns() {
    assert_eq!(returns_what_the_body_returns(), 2);
    assert_eq!(chosen(), None);
}

/// `?` converts into the written return type; in an async block the compiler would ask for type annotations.
#[bourn_macros::main(crate = "stand_in")]
pub(crate) async fn fails() -> Result<u32, Box<dyn std::error::Error>> {
    let first = parse("7").await?;
    if first != 7 {
        return Ok(first);
    }
    parse("seven").await?;
    Ok(first)
}

#[test]
fn question_marks_convert_errors() {
    let error = fails().map_err(|error| error.to_string());
    assert_eq!(error, Err("invalid digit found in string".to_owned()));
}

mod visible {
    #[bourn_macros::main(crate = "crate::stand_in", flavor = "current_thread")]
    pub async fn elsewhere() -> &'static str {
        "reached"
    }
}

#[test]
fn visibility_stays() {
    assert_eq!(visible::elsewhere(), "reached");
}

#[bourn_macros::test(crate = "stand_in", backend = "epoll")]
async fn epoll_is_chosen() {
    assert_eq!(chosen(), Some(Backend::Epoll));
}

#[bourn_macros::test(crate = "stand_in", backend = "poll")]
async fn poll_is_chosen() {
    assert_eq!(chosen(), Some(Backend::Poll));
}

#[bourn_macros::test(crate = "stand_in", backend = "select")]
async fn select_is_chosen() {
    assert_eq!(chosen(), Some(Backend::Select));
}

#[bourn_macros::test(crate = "stand_in", backend = "mio")]
async fn mio_is_chosen() {
    assert_eq!(chosen(), Some(Backend::Mio));
}

#[bourn_macros::test(crate = "stand_in")]
#[should_panic(expected = "on purpose")]
async fn should_panic_stays() {
    one().await;
    panic!("on purpose");
}

/// Would fail if it ran.
#[bourn_macros::test(crate = "stand_in")]
#[ignore = "shows that the attribute is kept"]
async fn ignore_stays() {
    assert_eq!(one().await, 2);
}

#[bourn_macros::test(crate = "stand_in")]
async fn a_test_may_return_a_result() -> Result<(), ParseIntError> {
    assert_eq!(parse("3").await?, 3);
    Ok(())
}

#[bourn_macros::test(crate = "stand_in")]
async fn inner_attributes_of_the_body_stay() {
    #![allow(unused_variables)]
    let unused = one().await;
}
