//! Gives memory that a burst of work left free back to the system: an unsafe leaf. The C library keeps what is free between
//! what is in use, so that after a flood the process would stay as large as the flood had made it.
#![expect(unsafe_code, reason = "the C library alone can give back what it keeps")]

use std::time::Duration;

use super::timer;
use super::workers::FILES;

/// How often. It takes about 0.3 ms for each MB that is free, for which others who ask for memory may have to wait; the media
/// thread asks for none.
const ROUND: Duration = Duration::from_secs(10);

/// Does it until the program ends. Where no thread is free for it, the next round tries again.
pub async fn run() {
    loop {
        timer::sleep(ROUND).await;
        _ = FILES.run(give_back).await;
    }
}

#[cfg(target_env = "gnu")]
fn give_back() {
    // SAFETY: it changes nothing that a caller can see, and may be called by any thread at any time.
    unsafe { libc::malloc_trim(0) };
}

/// Other C libraries give back by themselves.
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
    fn what_is_free_between_what_is_in_use_goes_back() {
        // Blocks too small for mappings of their own, every other one of which stays in use.
        let mut blocks: Vec<Option<Vec<u8>>> = (0..2048).map(|_| Some(vec![1; 64 << 10])).collect();
        let full = resident().unwrap();
        blocks.iter_mut().step_by(2).for_each(|b| *b = None);
        give_back();
        let after = resident().unwrap();
        assert!(after + (40 << 20) < full, "{full} became {after}");
        assert!(blocks.iter().flatten().all(|b| b.iter().all(|&b| b == 1)));
    }
}
