//! Prefetches frames into the CPU cache.

/// Cache line size, bytes.
const LINE: usize = 64;

/// Payload size of a G.711 or G.722 packet, bytes.
pub const TELEPHONE: usize = 160;

/// Reads a value from every cache line of a frame, so that all lines are fetched in parallel instead of one
/// after another: most of the cost of a leg is waiting for memory.
pub fn touch<T: Copy + Into<i64>>(frame: &[T]) -> i64 {
    frame.iter().step_by(LINE / size_of::<T>().max(1)).fold(0, |sum, x| sum ^ (*x).into())
}
