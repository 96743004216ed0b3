//! The code of the README and of the handbook: every block of Rust there is compiled and, if not marked `no_run`, run.

macro_rules! pages {
    ($($name:ident: $page:literal,)*) => {
        $(
            #[doc = include_str!(concat!("../../", $page))]
            struct $name;
        )*
    };
}

pages! {
    Readme: "README.md",
    Learn01: "docs/learn/01-blocking.md",
    Learn02: "docs/learn/02-threads.md",
    Learn03: "docs/learn/03-nonblocking.md",
    Learn04: "docs/learn/04-readiness.md",
    Learn05: "docs/learn/05-async.md",
    Learn06: "docs/learn/06-messages.md",
    Learn07: "docs/learn/07-endings.md",
    Learn08: "docs/learn/08-slow.md",
    Learn09: "docs/learn/09-limits-and-drain.md",
    Learn10: "docs/learn/10-observe.md",
    Testing: "docs/testing.md",
    Interop: "docs/interop.md",
}
