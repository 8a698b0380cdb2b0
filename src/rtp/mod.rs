//! Rank 2: RTP (RFC 3550, RFC 3551), telephone events (RFC 4733), and what one stream's arrival tells.

pub mod delay;
pub mod emodel;
pub mod jitter;
pub mod lock;
pub mod packet;
pub mod reception;
pub mod rtcp;
pub mod srtp;
pub mod srtp_index;
pub mod telephone_event;

/// Largest RTP or RTCP datagram taken, bytes: an Ethernet frame's worth.
pub const MAX_DATAGRAM: usize = 1500;
