//! `select(2)`: a wait over sets of descriptors below `FD_SETSIZE`.
//!
//! The sets say which descriptors are ready, not why: end of stream, error and
//! hang-up look like data. So what they name is asked about with a `poll(2)`
//! that does not wait. A descriptor whose unread data has been reported, but
//! whose reader waits for the end of the stream, can not be put into a set at
//! all (it would be ready at once): it is asked about in the same way, every
//! 50 ms, as long as that lasts.

use std::io;
use std::time::Duration;

use crate::event::Interest;
use crate::selector::level::{self, LAST_PAUSE, Watches};
use crate::selector::poll::{self, List};
use crate::sys::{self, DescriptorSet};

/// Waits, with the answers in `list`, which is empty before.
pub(super) fn wait(watches: &mut Watches, list: &mut List, timeout: Option<Duration>) -> io::Result<()> {
    let [mut read, mut write, mut except] = std::array::from_fn(|_| DescriptorSet::new());
    let mut end = watches.bell() + 1;
    let mut asks = false;
    read.insert(watches.bell());
    let resume = watches.visit(|_, fd, interest| {
        if interest.contains(Interest::READ) {
            read.insert(fd);
            except.insert(fd);
        } else if interest.contains(Interest::CLOSED) {
            asks = true;
        }
        if interest.contains(Interest::WRITE) {
            write.insert(fd);
        }
        end = end.max(fd + 1);
    });
    let ask = asks.then_some(LAST_PAUSE);
    let timeout = [timeout, resume, ask].into_iter().flatten().min();
    let selected = match sys::select(end, &mut read, &mut write, &mut except, timeout) {
        Ok(selected) => selected,
        // Some member is no descriptor any more, and the sets are as they
        // were: the question below is put for all of them and finds it.
        Err(error) if error.raw_os_error() == Some(libc::EBADF) => usize::MAX,
        Err(error) => return Err(error),
    };
    if selected == 0 && !asks {
        return Ok(());
    }

    if read.contains(watches.bell()) {
        list.push(poll::BELL, watches.bell(), libc::POLLIN);
    }
    watches.visit(|key, fd, interest| {
        let named = read.contains(fd) || write.contains(fd) || except.contains(fd);
        let asked = interest.contains(Interest::CLOSED) && !interest.contains(Interest::READ);
        if (selected > 0 && named) || asked {
            list.push(key, fd, level::poll_bits(interest));
        }
    });
    list.ask()
}
