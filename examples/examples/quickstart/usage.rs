//! What a process has used, as the kernel counts it: proc_pid_status(5).

use std::fs;

/// The resources of another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    pub threads: u64,
    /// The most memory that it had in RAM at any time, in bytes.
    pub peak_memory: u64,
    /// How often one of its threads went to sleep or was made to wait for the CPU.
    pub context_switches: u64,
}

impl Usage {
    /// Of the process `pid`; nothing where there is no `/proc` of Linux.
    pub fn of(pid: u32) -> Option<Usage> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let mut usage = Usage {
            threads: field(&status, "Threads")?,
            peak_memory: field(&status, "VmHWM")? * 1024,
            context_switches: 0,
        };
        // The process's own file counts the switches of its first thread alone.
        for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
            // A thread that has ended meanwhile is not missed.
            let Ok(status) = fs::read_to_string(thread.ok()?.path().join("status")) else {
                continue;
            };
            usage.context_switches += field(&status, "voluntary_ctxt_switches")?;
            usage.context_switches += field(&status, "nonvoluntary_ctxt_switches")?;
        }
        Some(usage)
    }
}

/// The number in the line `name:   number`, which may have a unit behind it.
fn field(status: &str, name: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let status = "Name:\tx\nVmHWM:\t    1234 kB\nnonvoluntary_ctxt_switches:\t7\nvoluntary_ctxt_switches:\t5\n";
        assert_eq!(field(status, "VmHWM"), Some(1234));
        assert_eq!(field(status, "voluntary_ctxt_switches"), Some(5));
        assert_eq!(field(status, "VmRSS"), None);
        assert_eq!(field(status, "Name"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_measured() {
        let usage = Usage::of(std::process::id()).expect("/proc is there");
        assert!(usage.threads >= 1);
        assert!(usage.peak_memory >= 64 * 1024);
        assert!(usage.context_switches >= 1);
    }
}
