//! Rank 2: session descriptions (RFC 8866) and the offer/answer model (RFC 3264) for one audio stream.

pub mod address;
pub mod answer;
pub mod dtmf;
pub mod filter;
pub mod formats;
pub mod negotiated;
pub mod numbers;
pub mod offer;
pub mod parse;
#[cfg(test)]
mod several_test;

pub use answer::answer;
pub use dtmf::Dtmf;
pub use formats::{Formats, Meaning};
pub use negotiated::{Direction, Keyed, Negotiated, accept};
pub use numbers::Numbers;
pub use offer::{Frame, Local, offer, offer_again};
pub use parse::{Able, Description, Format, SdpError};

/// Payload type we offer telephone-event under.
pub const DTMF_PAYLOAD_TYPE: u8 = 101;
/// The same with the clock of Opus.
pub const DTMF_PAYLOAD_TYPE_48K: u8 = 100;
/// Shortest and longest packet we send, ms.
pub const PTIME_RANGE: std::ops::RangeInclusive<u16> = 10..=60;
/// Packet length we ask for and assume where nothing is said, ms.
pub const DEFAULT_PTIME: u16 = 20;
