//! Room in buffers of several kinds, which is not initialised before it is
//! received into.

use std::mem::MaybeUninit;

/// The room that a full vector gets before it is received into.
const SMALLEST_ROOM: usize = 4096;

/// The bytes of a buffer that it does not hold yet.
pub(crate) trait Room {
    /// Where to receive. Bytes there may be initialised, and stay so: only what was
    /// received is written there.
    fn spare(&mut self) -> &mut [MaybeUninit<u8>];

    /// Makes the first `received` of these bytes part of what the buffer holds.
    ///
    /// # Safety
    /// There are so many, and they are initialised.
    unsafe fn hold(&mut self, received: usize);
}

/// Grows when it is full, so there always is room.
impl Room for Vec<u8> {
    fn spare(&mut self) -> &mut [MaybeUninit<u8>] {
        if self.len() == self.capacity() {
            // At least doubles what there is.
            self.reserve(SMALLEST_ROOM);
        }
        self.spare_capacity_mut()
    }

    unsafe fn hold(&mut self, received: usize) {
        let len = self.len() + received;
        // SAFETY: the caller has initialised that much of the capacity.
        unsafe { self.set_len(len) };
    }
}

#[cfg(feature = "tokio")]
impl Room for tokio::io::ReadBuf<'_> {
    fn spare(&mut self) -> &mut [MaybeUninit<u8>] {
        // SAFETY: nothing there becomes uninitialised; see the trait.
        unsafe { self.unfilled_mut() }
    }

    unsafe fn hold(&mut self, received: usize) {
        // SAFETY: the caller has initialised them.
        unsafe { self.assume_init(received) };
        self.advance(received);
    }
}

#[cfg(feature = "hyper")]
impl Room for hyper::rt::ReadBufCursor<'_> {
    fn spare(&mut self) -> &mut [MaybeUninit<u8>] {
        // SAFETY: nothing there becomes uninitialised; see the trait.
        unsafe { self.as_mut() }
    }

    unsafe fn hold(&mut self, received: usize) {
        // SAFETY: the caller has initialised them.
        unsafe { self.advance(received) };
    }
}
