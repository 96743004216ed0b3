//! Buffers that the kernel chooses from when something has come: io_uring's provided buffers, as a ring.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

use crate::Outcome;

/// A ring of free buffers. It must outlive the `IoUring`'s use of it: its owner keeps both, this one the longer.
pub struct Buffers {
    entries: NonNull<BufRingEntry>,
    layout: Layout,
    /// One stretch for each.
    memory: Vec<u8>,
    size: usize,
    mask: u16,
    tail: u16,
}

/// The kernel wants the entries on a page of their own.
const PAGE: usize = 4096;

impl Buffers {
    /// The one group of a ring.
    pub const GROUP: u16 = 0;

    /// At least so many, each of so many bytes.
    pub fn new(ring: &IoUring, count: usize, size: usize) -> Outcome<Buffers> {
        let count = count.next_power_of_two();
        let layout = Layout::from_size_align(count * size_of::<BufRingEntry>(), PAGE)?;
        // SAFETY: there is at least one entry, so the layout is not empty.
        let entries = unsafe { alloc_zeroed(layout) }.cast();
        let Some(entries) = NonNull::new(entries) else { handle_alloc_error(layout) };
        let mask = u16::try_from(count - 1)?;
        let mut buffers = Buffers { entries, layout, memory: vec![0; count * size], size, mask, tail: 0 };
        // SAFETY: the entries are aligned to a page, there are so many, and they live as long as the ring: see the type.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(entries.as_ptr() as u64, count as u16, Buffers::GROUP, 0)
        }?;
        for buffer in 0..count {
            buffers.give_back(buffer as u16);
        }
        buffers.publish();
        Ok(buffers)
    }

    /// What the kernel has put into a buffer.
    pub fn filled(&self, buffer: u16, length: usize) -> &[u8] {
        &self.memory[usize::from(buffer) * self.size..][..length]
    }

    /// The kernel may use it again, once this is published.
    pub fn give_back(&mut self, buffer: u16) {
        let address = self.memory[usize::from(buffer) * self.size..].as_mut_ptr() as u64;
        // SAFETY: masked, it is one of the entries.
        let entry = unsafe { self.entries.add(usize::from(self.tail & self.mask)) };
        // SAFETY: the kernel does not look at entries from the tail on, which it has not been told of yet; and no other
        // reference to this one is alive.
        let entry = unsafe { &mut *entry.as_ptr() };
        entry.set_addr(address);
        entry.set_len(self.size as u32);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Tells the kernel of what was given back.
    pub fn publish(&mut self) {
        // SAFETY: the entries are there, and the tail is inside the first of them.
        let tail = unsafe { BufRingEntry::tail(self.entries.as_ptr()) };
        // SAFETY: it is aligned, alive, and only read by the kernel.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        // Pairs with the kernel's acquire when it takes a buffer: the entries were written before.
        tail.store(self.tail, Ordering::Release);
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: it was allocated with this layout, and the ring is closed by now.
        unsafe { dealloc(self.entries.as_ptr().cast(), self.layout) };
    }
}
