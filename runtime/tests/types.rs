//! Every public type against Send, Sync, Unpin and UnwindSafe, checked by the
//! compiler: a change of any is a breaking change, and shows here first.

use std::panic::UnwindSafe;

/// Whether `$type` implements `$trait`, as a constant: the inherent constant of
/// the bounded impl wins over the trait's where it applies.
macro_rules! implements {
    ($type:ty, $trait:path) => {{
        struct Probe<T: ?Sized>(core::marker::PhantomData<T>);
        #[allow(dead_code, reason = "one of the two is used")]
        impl<T: ?Sized + $trait> Probe<T> {
            const HOLDS: bool = true;
        }
        #[allow(dead_code, reason = "one of the two is used")]
        trait Otherwise {
            const HOLDS: bool = false;
        }
        impl<T: ?Sized> Otherwise for Probe<T> {}
        <Probe<$type>>::HOLDS
    }};
}

macro_rules! table {
    ($($type:ty: $send:literal $sync:literal $unpin:literal $unwind:literal;)+) => {
        $(const _: () = {
            assert!(implements!($type, Send) == $send, concat!(stringify!($type), ": Send"));
            assert!(implements!($type, Sync) == $sync, concat!(stringify!($type), ": Sync"));
            assert!(implements!($type, Unpin) == $unpin, concat!(stringify!($type), ": Unpin"));
            assert!(implements!($type, UnwindSafe) == $unwind, concat!(stringify!($type), ": UnwindSafe"));
        };)+
    };
}

type Local = std::rc::Rc<()>;

table! {
    // type                                            Send  Sync  Unpin UnwindSafe
    bourn::Backend:                                    true  true  true  true;
    bourn::UnknownBackend:                             true  true  true  true;
    bourn::runtime::Builder:                           true  true  true  true;
    bourn::runtime::Runtime:                           true  true  true  true;
    bourn::runtime::Handle:                            true  true  true  true;
    bourn::runtime::EnterGuard:                        false false true  true;
    bourn::task::Builder:                              true  true  true  true;
    bourn::task::JoinHandle<()>:                       true  true  true  true;
    bourn::task::JoinHandle<Local>:                    false false true  true;
    bourn::task::AbortHandle:                          true  true  true  true;
    bourn::task::JoinError:                            true  true  true  true;
    bourn::task::Id:                                   true  true  true  true;
    bourn::task::TaskInfo:                             true  true  true  true;
    bourn::task::TaskState:                            true  true  true  true;
    bourn::task::JoinSet<()>:                          true  true  true  true;
    bourn::task::JoinSet<Local>:                       false false true  true;
    bourn::task::LocalKey<u8>:                         true  true  true  true;
    bourn::task::AccessError:                          true  true  true  true;
    bourn::runtime::UnhandledPanic:                    true  true  true  true;
    bourn::runtime::PoolMetrics:                       true  true  true  true;
    bourn::task::YieldNow:                             true  true  true  true;
    bourn::time::Sleep:                                true  true  true  true;
    bourn::time::Interval:                             true  true  true  true;
    bourn::time::MissedTickBehavior:                   true  true  true  true;
    bourn::time::Timeout<std::future::Ready<()>>:      true  true  true  true;
    bourn::time::Timeout<std::future::Pending<Local>>: true  true  true  true;
    bourn::time::Elapsed:                              true  true  true  true;
    bourn_reactor::Poller:                             true  true  true  true;
    bourn_reactor::Reactor:                            true  true  true  true;
    bourn_reactor::Source:                             true  true  true  true;
    bourn_reactor::Entered:                            false false true  true;
    bourn_reactor::Event:                              true  true  true  true;
    bourn_reactor::Interest:                           true  true  true  true;
    bourn_reactor::Ready:                              true  true  true  true;
    bourn_reactor::Seen:                               true  true  true  true;
    bourn_reactor::Ticket:                             true  true  true  true;
    bourn_reactor::SourceInfo:                         true  true  true  true;
    bourn_reactor::RuntimeId:                          true  true  true  true;
}

#[test]
fn the_probe_tells_true_from_false() {
    assert!(implements!(u8, Send));
    assert!(!implements!(Local, Send));
}
