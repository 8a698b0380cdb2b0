//! Rank 2: session descriptions (RFC 8866) and the offer/answer model (RFC 3264) for one audio stream.

pub mod address;
pub mod answer;
mod description;
mod direction;
pub mod dtmf;
mod error;
pub mod filter;
pub mod formats;
mod local;
pub mod negotiated;
pub mod numbers;
pub mod offer;
pub mod parse;
#[cfg(test)]
mod several_test;

pub use answer::answer;
pub use description::{Description, Format, Line};
pub use direction::Direction;
pub use dtmf::Dtmf;
pub use error::SdpError;
pub use formats::{Formats, Meaning};
pub use local::{Frame, Local};
pub use negotiated::{Keyed, Negotiated, accept};
pub use numbers::Numbers;
pub use offer::{offer, offer_again};
pub use parse::Able;
