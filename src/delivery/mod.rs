//! Rank 3: delivery of events and recordings: destinations, order and retries. No I/O: time is an argument.

pub mod backoff;
pub mod events;
pub mod failure;
pub mod queue;
pub mod share;
pub mod uploads;
