//! What the gateway tells the media engine, and what the engine tells back.

use crate::sdp::Negotiated;

/// A leg's place in the engine; the gateway gives it out and reuses it only after [`Fact::Closed`].
pub type Slot = u16;

/// Names a bound RTP/RTCP socket pair that the shell holds ready.
pub type PortId = u32;

/// An order for the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Opens a leg on a socket pair.
    Open {
        /// The leg's place.
        slot: Slot,
        /// The sockets it sends and receives on.
        port: PortId,
        /// What was agreed with the far end.
        stream: Negotiated,
        /// SSRC of what it sends.
        ssrc: u32,
        /// Others do not hear it.
        muted: bool,
        /// It hears nobody.
        deaf: bool,
    },
    /// The far end agreed to something else.
    Update {
        /// The leg.
        slot: Slot,
        /// What holds from now on.
        stream: Negotiated,
    },
    /// Closes a leg; [`Fact::Closed`] follows.
    Close {
        /// The leg.
        slot: Slot,
    },
}

/// News from the engine.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// The far end pressed a key: `0`–`9`, `*`, `#`, `A`–`D`.
    Digit {
        /// The leg.
        slot: Slot,
        /// The key.
        digit: char,
    },
    /// Nothing has been received for the configured time, and the leg is not on hold.
    Silent {
        /// The leg.
        slot: Slot,
    },
    /// The leg is closed; its place and sockets are free.
    Closed {
        /// The leg.
        slot: Slot,
        /// How well its media travelled.
        quality: Quality,
    },
}

/// How well the media of a leg travelled.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Quality {
    /// RTP packets received and taken.
    pub received: u64,
    /// RTP packets that never came, by extended sequence numbers.
    pub lost: u64,
    /// Interarrival jitter (RFC 3550 §6.4.1), ms.
    pub jitter_ms: f64,
    /// Packets dropped because they did not come from the locked source.
    pub foreign: u64,
    /// 20 ms frames made up because nothing came in time.
    pub concealed: u64,
}
