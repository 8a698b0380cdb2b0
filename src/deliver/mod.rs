//! Rank 3: which event and which recording goes where, in what order, and when to try again. Pure: time is an argument.

pub mod backoff;
pub mod events;
pub mod failure;
pub mod queue;
pub mod share;
pub mod uploads;
