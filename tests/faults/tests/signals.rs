//! Signals that could not be watched for are heard as soon as they can.

#[path = "../../../net/tests/harness/mod.rs"]
mod harness;

use std::future::poll_fn;
use std::process::Command;
use std::time::Duration;

use bourn::runtime::Builder;
use bourn::server::{Cause, Connection, Server};
use bourn::signal::unix::{self, Signal, SignalKind};
use bourn_reactor::Backend;
use bourn_reactor::faults::{Fault, Plan};

/// Signals are the process's, so it has one of its own.
#[test]
fn a_server_hears_signals_again_when_there_is_room_to_watch_for_them() {
    let name = "a_server_hears_signals_again_when_there_is_room_to_watch_for_them";
    harness::run_alone(name, Some(Backend::Epoll), || async {
        let server = std::thread::spawn(|| {
            let runtime = Builder::new_current_thread().backend(Backend::Epoll).build().expect("a runtime");
            runtime.block_on(async {
                let server = Server::new().bind("127.0.0.1:0").await.expect("a port is free");
                let installed = Plan::mixed(1, 1, &[Fault::Error(libc::ENOSPC)]).install();
                let server = bourn::spawn(server.serve(async |_: Connection| {}));
                // The first two are those of the two signals: the loops begin afterwards.
                while installed.injected() < 2 {
                    bourn::time::sleep(Duration::from_millis(1)).await;
                }
                drop(installed);
                let id = std::process::id().to_string();
                let sent = Command::new("kill").args(["-TERM", &id]).status().expect("kill");
                assert!(sent.success());
                server.await.expect("no panic").expect("it serves")
            })
        });
        assert_eq!(server.join().expect("no panic").cause, Cause::Signal(libc::SIGTERM));
    });
}

#[test]
fn a_signal_that_has_come_is_received_where_nothing_can_be_watched() {
    let name = "a_signal_that_has_come_is_received_where_nothing_can_be_watched";
    harness::run_alone(name, Some(Backend::Epoll), || async {
        let mut signal = unix::signal(SignalKind::user_defined1()).expect("a signal");
        // It is told after the other one, and watched before the faults begin.
        let mut witness = unix::signal(SignalKind::user_defined1()).expect("a signal");
        for polled in [false, true] {
            let id = std::process::id().to_string();
            assert!(Command::new("kill").args(["-USR1", &id]).status().expect("kill").success());
            assert_eq!(witness.recv().await, Some(()));
            let installed = Plan::mixed(1, 1, &[Fault::Error(libc::ENOSPC)]).install();
            let received = async |signal: &mut Signal| match polled {
                true => poll_fn(|cx| signal.poll_recv(cx)).await,
                false => signal.recv().await,
            };
            assert_eq!(received(&mut signal).await, Some(()), "polled: {polled}");
            assert_eq!(installed.injected(), 0, "there was nothing to wait for");
            assert_eq!(received(&mut signal).await, None, "polled: {polled}");
            assert_eq!(installed.injected(), 1, "it had to be waited for");
        }
    });
}
