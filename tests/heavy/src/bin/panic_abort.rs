//! Is built with `panic = "abort"` by the test of that name: a runtime whose parts
//! all work, and then one panic in it, where the argument says.

use std::future::pending;
use std::time::Duration;

use bourn::runtime::{Builder, UnhandledPanic};
use bourn::task::{JoinSet, spawn_blocking};

fn main() {
    // Has no say in this program.
    let builder = Builder::new_current_thread().unhandled_panic(UnhandledPanic::Ignore);
    let runtime = builder.build().expect("a runtime");
    let place = std::env::args().nth(1).unwrap_or_default();
    runtime.block_on(async {
        let mut set = JoinSet::new();
        set.spawn(async { bourn::time::sleep(Duration::from_millis(1)).await });
        set.spawn_blocking(|| ());
        set.spawn(pending());
        for _ended in 0..2 {
            set.join_next().await.expect("a member").expect("an output");
        }
        set.abort_all();
        let aborted = set.join_next().await.expect("a member");
        assert!(aborted.is_err_and(|error| error.is_cancelled()));
        println!("all works");
        match place.as_str() {
            "task" => drop(bourn::spawn(async { panic!("here") }).await),
            "call" => drop(spawn_blocking(|| panic!("here")).await),
            _ => {}
        }
    });
    let left = runtime.shutdown_timeout(Duration::from_secs(40));
    println!("{} left", left.len());
}
