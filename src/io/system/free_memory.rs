//! Returns free heap memory to the system after load peaks: an unsafe leaf. glibc keeps free blocks between
//! used ones, so that the process would keep the size of its largest peak.
#![expect(unsafe_code, reason = "only the C library can return its free memory")]

use std::time::Duration;

use super::timer;
use super::workers::FILES;

/// Interval. Trimming takes about 0.3 ms per MB of free memory, during which allocations of other threads may
/// block; the media thread does not allocate.
const ROUND: Duration = Duration::from_secs(10);

/// Trims periodically until the process ends. If no worker thread is free, it is retried in the next
/// interval.
pub async fn run() {
    loop {
        timer::sleep(ROUND).await;
        _ = FILES.run(give_back).await;
    }
}

#[cfg(target_env = "gnu")]
fn give_back() {
    // SAFETY: it has no effect visible to callers, and may be called by any thread at any time.
    unsafe { libc::malloc_trim(0) };
}

/// Other C libraries return memory automatically.
#[cfg(not(target_env = "gnu"))]
fn give_back() {}

#[cfg(all(test, target_env = "gnu"))]
mod tests {
    use super::*;

    /// Resident memory of this process, bytes.
    fn resident() -> Option<u64> {
        let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
        let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
        Some(pages * rustix::param::page_size() as u64)
    }

    #[test]
    fn free_memory_between_used_blocks_is_returned() {
        // Blocks too small for separate mappings, every other one of which stays in use.
        let mut blocks: Vec<Option<Vec<u8>>> = (0..2048).map(|_| Some(vec![1; 64 << 10])).collect();
        let full = resident().unwrap();
        blocks.iter_mut().step_by(2).for_each(|b| *b = None);
        give_back();
        let after = resident().unwrap();
        assert!(after + (40 << 20) < full, "{full} became {after}");
        assert!(blocks.iter().flatten().all(|b| b.iter().all(|&b| b == 1)));
    }
}
