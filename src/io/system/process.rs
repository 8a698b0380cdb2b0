//! What the operating system says of this process: CPU time, memory, descriptors.

use std::fs;

/// Figures of the process, as Prometheus names them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Process {
    /// User and system time, seconds.
    pub cpu_seconds: f64,
    /// Resident memory, bytes.
    pub resident: u64,
    /// Open descriptors.
    pub open_fds: u64,
    /// Largest number of descriptors.
    pub max_fds: u64,
}

impl Process {
    /// Reads the figures; what cannot be read is 0.
    #[must_use]
    pub fn read() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let open = fs::read_dir("/proc/self/fd").map_or(0, |d| d.count() as u64);
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let page = rustix::param::page_size() as u64;
        let pages: u64 = statm.split(' ').nth(1).and_then(|p| p.parse().ok()).unwrap_or(0);
        Self {
            cpu_seconds: ticks(&stat) as f64 / rustix::param::clock_ticks_per_second() as f64,
            resident: pages * page,
            open_fds: open,
            max_fds: limit.unwrap_or(0),
        }
    }
}

/// Raises the number of descriptors that this process may have as far as it may be raised: 256 calls with recordings need
/// more than the 1,024 that services are given. What is allowed then.
pub fn raise_descriptor_limit() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.current != limit.maximum
        && let Err(e) = setrlimit(Resource::Nofile, raised)
    {
        log::warn!(error:% = e; "the limit of descriptors cannot be raised");
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// From now on this process is killed when the one that started it ends.
pub fn end_with_parent() {
    use rustix::process::{Signal, set_parent_process_death_signal};
    if let Err(e) = set_parent_process_death_signal(Some(Signal::KILL)) {
        log::warn!(error:% = e; "this gateway will not end with what has started it");
    }
}

/// The name of this machine; empty where it has none.
#[must_use]
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// User and system time of a line of `/proc/PID/stat`, clock ticks. The name of the program may hold anything.
fn ticks(stat: &str) -> u64 {
    let fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ');
    fields.skip(11).take(2).filter_map(|f| f.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_program_may_hold_anything() {
        assert_eq!(ticks("7 (a) (b c) S 1 2 3 4 5 6 7 8 9 10 30 12 0 0 20 0"), 42);
        assert_eq!(ticks(""), 0);
        let p = Process::read();
        assert!(p.resident > 1 << 20 && p.open_fds >= 3 && p.max_fds >= p.open_fds, "{p:?}");
    }
}
