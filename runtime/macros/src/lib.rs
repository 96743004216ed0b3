//! The attribute macros of bourn: [`main`](macro@main) and [`test`](macro@test).
//!
//! Use them through the crate `bourn`, which re-exports both; this crate is not meant to be a dependency of its own.
//! Each turns an `async fn` into an ordinary function that builds a runtime and blocks on the body:
//!
//! ```text
//! #[bourn::main]                      fn main() -> R {
//! async fn main() -> R { body }  =>       async fn main() -> R { body }
//!                                         bourn::runtime::Builder::new_current_thread()
//!                                             .build().expect("...").block_on(main())
//!                                     }
//! ```
//!
//! The inner function keeps the signature as written, so what the compiler says about the body (a wrong type, a `?` that
//! does not convert) is what it says about any `async fn`. Nothing here parses the body: its errors are the compiler's own.
//!
//! # Options
//!
//! Both attributes take the same options, each at most once:
//!
//! | option | values | default |
//! |---|---|---|
//! | `flavor` | `"current_thread"`, `"multi_thread"`, `"thread_per_core"` | `"current_thread"` |
//! | `worker_threads` | a number, with one of the other two flavors | the number of processors |
//! | `backend` | `"epoll"`, `"poll"`, `"select"`, `"mio"` | what the builder chooses: `BOURN_BACKEND`, else the best one |
//! | `crate` | the path under which `bourn` is reachable | `"::bourn"` |
//! | `max_poll`, of [`test`](macro@test) alone | a time, such as `"5ms"` | polls may take as long as they like |

#![forbid(unsafe_code)]

mod entry;
mod expand;
mod function;
mod options;

use proc_macro::TokenStream;

use crate::entry::Entry;

/// Runs an `async fn main` on a new runtime.
///
/// The runtime lives as long as the body: it is built when the function is called and dropped when the body has returned.
/// The function may have any name, any visibility and any return type; it takes no arguments and has no generics.
/// The options are those of the [crate](crate#options).
///
/// # Panics
///
/// The function that this makes panics if the runtime cannot be built (the process is out of file descriptors, or the
/// backend is not supported here), and where `block_on` does: when it is called on a thread that is already inside a runtime.
///
/// # Examples
///
/// ```
/// #[bourn::main]
/// async fn main() -> std::io::Result<()> {
///     let listener = bourn::net::TcpListener::bind("127.0.0.1:0").await?;
///     println!("listening on {}", listener.local_addr()?);
///     Ok(())
/// }
/// ```
///
/// On a chosen backend, with the crate under another name:
///
/// ```
/// use bourn as stream;
///
/// #[stream::main(backend = "poll", crate = "stream")]
/// async fn main() {
///     println!("this waits in poll(2)");
/// }
/// ```
#[proc_macro_attribute]
pub fn main(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(Entry::Main, options.into(), item.into()).into()
}

/// Makes an `async fn` a test that runs on a runtime of its own.
///
/// It adds `#[test]` itself; other attributes (`#[ignore]`, `#[should_panic]`, lints) stay and mean what they mean on a
/// test. Each test gets a runtime that no other test shares, built when the test starts and dropped when it ends.
/// The options are those of the [crate](crate#options).
///
/// With `max_poll` a test fails in the end if a poll, of a task or of the test's own future, took longer: something
/// blocked the thread. The message names the task, where it was spawned, and whether it slept or computed. Threads are
/// looked at every 4 ms: what lasts 10 ms longer than allowed is certainly noticed.
///
/// # Panics
///
/// The test fails with a panic if the runtime cannot be built, for the reasons listed at [`main`](macro@main#panics).
///
/// # Examples
///
/// ```no_run
/// #[bourn::test]
/// async fn a_sleep_is_never_early() {
///     let start = std::time::Instant::now();
///     let pause = std::time::Duration::from_millis(5);
///     bourn::time::sleep(pause).await;
///     assert!(start.elapsed() >= pause);
/// }
///
/// #[bourn::test(max_poll = "5ms")]
/// async fn nothing_blocks() {
///     bourn::spawn(async { bourn::time::sleep(std::time::Duration::from_millis(50)).await }).await.unwrap();
/// }
///
/// #[bourn::test(backend = "select")]
/// #[should_panic(expected = "on purpose")]
/// async fn panics_reach_the_harness() {
///     panic!("on purpose");
/// }
/// ```
#[proc_macro_attribute]
pub fn test(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(Entry::Test, options.into(), item.into()).into()
}
