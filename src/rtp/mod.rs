//! Rank 2: RTP (RFC 3550, RFC 3551), telephone events (RFC 4733), reception statistics of a stream.

pub mod delay;
pub mod emodel;
pub mod event_receiver;
pub mod g722_clock;
pub mod jitter;
pub mod lock;
pub mod packet;
pub mod reception;
pub mod rtcp;
pub mod sequence;
pub mod sources;
pub mod srtp;
pub mod srtp_index;
pub mod telephone_event;

/// Largest RTP or RTCP datagram accepted, bytes: 200 ms of G.711 or G.722 (RFC 3551 §4.2) with header,
/// extension and tag.
pub const MAX_DATAGRAM: usize = 2048;
