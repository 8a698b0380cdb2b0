//! Process statistics: CPU time, memory, file descriptors.

use std::fs;

/// Statistics with the names used by Prometheus.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Process {
    /// User and system time, seconds.
    pub cpu_seconds: f64,
    /// Resident memory, bytes.
    pub resident: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// Maximum number of file descriptors.
    pub max_fds: u64,
}

impl Process {
    /// Reads the statistics; values that cannot be read are 0.
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

/// Raises the limit of file descriptors to its maximum: 256 calls with recordings need more than the default
/// of 1,024. Returns the new limit.
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

/// Kills this process when its parent exits.
pub fn end_with_parent() {
    use rustix::process::{Signal, set_parent_process_death_signal};
    if let Err(e) = set_parent_process_death_signal(Some(Signal::KILL)) {
        log::warn!(error:% = e; "no parent-death signal: this process will survive its parent");
    }
}

/// The host name; empty if there is none.
#[must_use]
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// User and system time from `/proc/PID/stat`, clock ticks. The process name may contain any characters.
fn ticks(stat: &str) -> u64 {
    let fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ');
    fields.skip(11).take(2).filter_map(|f| f.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_name_may_contain_anything() {
        assert_eq!(ticks("7 (a) (b c) S 1 2 3 4 5 6 7 8 9 10 30 12 0 0 20 0"), 42);
        assert_eq!(ticks(""), 0);
        let p = Process::read();
        assert!(p.resident > 1 << 20 && p.open_fds >= 3 && p.max_fds >= p.open_fds, "{p:?}");
    }
}
