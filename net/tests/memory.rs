//! Buffers that the kernel can not reach.

mod harness;

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use bourn_net::WriteAllError;

use harness::{both, elsewhere, on_every_backend, pair_with_std};

const LENGTH: usize = 16 << 20;

/// A mapping of a file that has no name.
struct Mapping {
    file: File,
    start: *mut u8,
}

impl Mapping {
    fn new() -> Mapping {
        // SAFETY: the name is a C string.
        let fd = unsafe { libc::memfd_create(c"test".as_ptr(), libc::MFD_CLOEXEC) };
        assert!(fd >= 0);
        // SAFETY: the kernel just made this descriptor and nobody else knows it.
        let file = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
        file.set_len(LENGTH as u64).expect("memory");
        // SAFETY: a new mapping, where the kernel finds room.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), LENGTH, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        assert_ne!(start, libc::MAP_FAILED);
        Mapping { file, start: start.cast() }
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: mapped for reading for as long as `self` lives. Nobody writes to
        // the file; after it is truncated only the kernel reads, which says EFAULT.
        unsafe { std::slice::from_raw_parts(self.start, LENGTH) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping was made with this start and length.
        unsafe { libc::munmap(self.start.cast(), LENGTH) };
    }
}

on_every_backend! {
    async fn a_mapping_truncated_under_a_write_ends_in_an_error() {
        let (ours, mut peer) = pair_with_std().await;
        let mapping = Mapping::new();
        mapping.file.set_len(1 << 20).expect("memory");
        let read = elsewhere(move || {
            let mut seen = Vec::new();
            peer.read_to_end(&mut seen).expect("the writer is dropped");
            seen.len()
        });
        let write = async {
            let error = ours.write_all(mapping.bytes()).await.expect_err("there is no such memory");
            drop(ours);
            error
        };
        let (error, seen) = both(write, read).await;
        let payload = error.get_ref().and_then(|payload| payload.downcast_ref::<WriteAllError>());
        let payload = payload.expect("how much was written");
        assert_eq!(payload.error().raw_os_error(), Some(libc::EFAULT));
        // Nothing is counted twice, and nothing that was counted is lost.
        assert_eq!(payload.written(), seen);
        assert!(seen <= 1 << 20);
    }
}
