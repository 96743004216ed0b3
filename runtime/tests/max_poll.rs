//! `#[bourn::test(max_poll = "...")]` fails a test that blocks, and no other.

use std::thread;
use std::time::Duration;

use bourn::task::yield_now;
use bourn::time::sleep;

/// Far more than is allowed.
const BLOCK: Duration = Duration::from_millis(300);

async fn blocks() {
    let task = bourn::task::Builder::new().name("culprit").spawn(async {
        yield_now().await;
        thread::sleep(BLOCK);
    });
    task.await.expect("the culprit");
}

#[bourn::test(max_poll = "100ms")]
#[should_panic(expected = "a poll took longer than 100ms: task")]
async fn a_task_that_blocks_fails_the_test() {
    blocks().await;
}

#[bourn::test(max_poll = "100ms")]
#[should_panic(expected = "\"culprit\" (spawned at runtime/tests/max_poll.rs:13:")]
async fn the_task_is_named() {
    blocks().await;
}

#[bourn::test(max_poll = "100ms", flavor = "multi_thread", worker_threads = 2)]
#[should_panic(expected = "\"culprit\"")]
async fn so_is_one_on_a_worker() {
    blocks().await;
}

#[bourn::test(max_poll = "100ms", flavor = "thread_per_core", worker_threads = 2)]
#[should_panic(expected = "\"culprit\"")]
async fn and_on_a_core_of_its_own() {
    blocks().await;
}

#[bourn::test(max_poll = "100ms")]
#[should_panic(expected = "the future of a block_on")]
async fn the_test_itself_may_not_block_either() {
    thread::sleep(BLOCK);
}

#[bourn::test(max_poll = "100ms")]
#[should_panic(expected = "its own")]
async fn another_panic_comes_first() {
    blocks().await;
    panic!("its own");
}

/// Far less than is allowed, also on a machine that is busy with other things.
#[bourn::test(max_poll = "5s")]
async fn a_test_that_waits_does_not_block() -> Result<(), bourn::task::JoinError> {
    bourn::spawn(sleep(BLOCK)).await
}
