//! Commands from the gateway to the media engine, and events from the engine to the gateway.

use std::net::IpAddr;

use super::amd::{AmdEvent, Parameters};
use crate::dsp::tone::ToneSpec;
use crate::rtp::lock::RtpSource;
use crate::sdp::Negotiated;

/// Index of a leg in the engine; assigned by the gateway, reused only after [`MediaEvent::Closed`].
pub type Slot = u16;
/// Index of a room in the engine.
pub type RoomSlot = u16;
/// Index of a playback in the engine; reused only after [`MediaEvent::Played`].
pub type PlaySlot = u16;
/// Index of a recording in the engine; reused only after the recorder has finished it.
pub type RecordSlot = u16;
/// Identifies a bound RTP/RTCP socket pair owned by the I/O layer.
pub type PortId = u32;

/// Target of a playback or recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AudioTarget {
    /// One leg.
    Leg(Slot),
    /// All members of a room.
    Room(RoomSlot),
    /// The input of one leg; for recording only.
    LegInput(Slot),
}

/// Why a playback ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// Played to the end.
    Completed,
    /// Stopped by a command.
    Stopped,
    /// The source could not be read to the end.
    Failed,
}

/// A command to the engine.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Opens a leg on a socket pair.
    Open {
        /// Index of the leg.
        slot: Slot,
        /// The sockets it sends and receives on.
        port: PortId,
        /// The negotiated session.
        stream: Negotiated,
        /// Source address of the signalling, for far ends behind NAT.
        signalling: Option<IpAddr>,
        /// Additional RTP sources accepted during the whole call.
        beside: RtpSource,
        /// SSRC of the sent RTP stream.
        ssrc: u32,
        /// Other members do not hear it.
        muted: bool,
        /// It does not hear the room nor playbacks.
        deaf: bool,
    },
    /// The session was renegotiated.
    Update {
        /// The leg.
        slot: Slot,
        /// The new session parameters.
        stream: Negotiated,
        /// Source address of the signalling.
        signalling: Option<IpAddr>,
    },
    /// Closes a leg; [`MediaEvent::Closed`] follows.
    Close {
        /// The leg.
        slot: Slot,
    },
    /// Other members no longer hear it, or hear it again.
    Mute {
        /// The leg.
        slot: Slot,
        /// Muted.
        on: bool,
    },
    /// Local hold, or resume: disconnected from its room, but not from what is played to it.
    Hold {
        /// The leg.
        slot: Slot,
        /// On hold.
        on: bool,
    },
    /// The call was answered but the ACK is missing (`on`), or has arrived. Without ACK or audio from the far
    /// end, sending pauses after 2 s.
    Unproven {
        /// The leg.
        slot: Slot,
        /// ACK missing.
        on: bool,
    },
    /// It no longer hears the room and playbacks, or hears them again.
    Deaf {
        /// The leg.
        slot: Slot,
        /// Deaf.
        on: bool,
    },
    /// Moves a leg into a room, from its current one if any.
    Join {
        /// The leg.
        slot: Slot,
        /// The room.
        room: RoomSlot,
        /// Rate of the room, Hz.
        room_rate: u32,
        /// Rate of the leg, Hz.
        leg_rate: u32,
    },
    /// Removes a leg from its room.
    Leave {
        /// The leg.
        slot: Slot,
    },
    /// Sends digits, after those already queued.
    Digits {
        /// The leg.
        slot: Slot,
        /// As in-band tones, even if telephone events were negotiated.
        in_band: bool,
        /// `0`–`9`, `*`, `#`, `A`–`D`.
        digits: String,
    },
    /// Reports start and end of speech on the leg from now on.
    Speaking {
        /// The leg.
        slot: Slot,
    },
    /// Starts answering-machine detection; replaces a running one.
    Amd {
        /// The leg.
        slot: Slot,
        /// Parameters of the detection.
        parameters: Parameters,
    },
    /// Requests [`MediaEvent::Quality`].
    Quality {
        /// The leg.
        slot: Slot,
    },
    /// Opens a room.
    OpenRoom {
        /// Index of the room.
        room: RoomSlot,
        /// Its rate, Hz.
        rate: u32,
    },
    /// Closes a room, which must be empty.
    CloseRoom {
        /// The room.
        room: RoomSlot,
    },
    /// Plays a tone until stopped.
    PlayTone {
        /// Index of the playback.
        play: PlaySlot,
        /// Target.
        target: AudioTarget,
        /// Rate of the target, Hz.
        rate: u32,
        /// The tone.
        tone: ToneSpec,
        /// Volume in steps of 3 dB.
        volume: i8,
    },
    /// Plays what a feeder writes to the ring of this playback.
    PlayFed {
        /// Index of the playback.
        play: PlaySlot,
        /// Target.
        target: AudioTarget,
        /// Rate of the target, Hz.
        rate: u32,
        /// Volume in steps of 3 dB.
        volume: i8,
    },
    /// Changes a playback's volume.
    Volume {
        /// The playback.
        play: PlaySlot,
        /// Volume in steps of 3 dB.
        volume: i8,
    },
    /// Stops a playback; [`MediaEvent::Played`] follows.
    StopPlay {
        /// The playback.
        play: PlaySlot,
    },
    /// Starts a recording into the ring of this index.
    Record {
        /// Index of the recording.
        record: RecordSlot,
        /// What is recorded.
        target: AudioTarget,
    },
    /// Records silence instead, or resumes.
    PauseRecord {
        /// The recording.
        record: RecordSlot,
        /// Paused.
        on: bool,
    },
    /// Ends a recording; its ring is closed after the last frame.
    StopRecord {
        /// The recording.
        record: RecordSlot,
    },
}

/// An event of the engine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MediaEvent {
    /// The far end pressed a key: `0`–`9`, `*`, `#`, `A`–`D`.
    Digit {
        /// The leg.
        slot: Slot,
        /// The key.
        digit: char,
    },
    /// Speech started or stopped.
    Speaking {
        /// The leg.
        slot: Slot,
        /// Speaking.
        on: bool,
    },
    /// Result of answering-machine detection.
    Amd {
        /// The leg.
        slot: Slot,
        /// The result.
        news: AmdEvent,
    },
    /// Media quality of a leg.
    Quality {
        /// The leg.
        slot: Slot,
        /// Statistics so far.
        quality: Quality,
    },
    /// No packet was received for the configured time, and the leg is not on hold.
    Silent {
        /// The leg.
        slot: Slot,
    },
    /// The leg is closed; its index and sockets are free.
    Closed {
        /// The leg.
        slot: Slot,
        /// Final statistics.
        quality: Quality,
    },
    /// A playback ended.
    Played {
        /// The playback.
        play: PlaySlot,
        /// Time played, ms.
        played_ms: u64,
        /// Why it ended.
        over: Over,
    },
}

/// Media quality statistics of a leg.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Quality {
    /// RTP packets received and accepted.
    pub received: u64,
    /// RTP packets lost, by extended sequence numbers.
    pub lost: u64,
    /// Interarrival jitter (RFC 3550 §6.4.1), ms.
    pub jitter_ms: f64,
    /// Packets rejected because they did not come from the locked source.
    pub foreign: u64,
    /// Packets that arrived too late to be played.
    pub late: u64,
    /// 20 ms frames concealed because no packet arrived in time.
    pub concealed: u64,
    /// Ticks of the media thread during the call that began more than 5 ms late.
    pub late_ticks: u64,
    /// Digits dropped in either direction because a queue was full.
    pub digits_dropped: u64,
    /// Round-trip time from the far end's reports (RFC 3550 §6.4.1), ms; `None`: no reports received.
    pub rtt_ms: Option<f64>,
    /// Delay of the jitter buffer, ms.
    pub playing_ms: f64,
    /// By how much the far end's clock is faster than ours, parts per million.
    pub drift_ppm: f64,
    /// MOS by the E-model (ITU-T G.107), 1 to 4.5; 0: no packet received.
    pub mos: f64,
}

impl Quality {
    /// Adds the counters of another leg; times and scores are not added.
    pub fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.lost += other.lost;
        self.foreign += other.foreign;
        self.late += other.late;
        self.concealed += other.concealed;
        self.late_ticks += other.late_ticks;
        self.digits_dropped += other.digits_dropped;
    }
}
