//! Rank 0: types shared by all layers. No protocol, no I/O.

pub mod bucket;
pub mod counted;
pub mod deadlines;
pub mod hex;
pub mod http_date;
pub mod ids;
pub mod net;
pub mod pool;
pub mod queue;
pub mod rng;
pub mod secret;
pub mod source;
pub mod time;
