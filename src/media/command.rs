//! What the gateway tells the media engine, and what the engine tells back.

use std::net::IpAddr;

use super::amd::{News, Parameters};
use crate::dsp::tone::ToneSpec;
use crate::rtp::lock::RtpSource;
use crate::sdp::Negotiated;

/// A leg's place in the engine; the gateway gives it out and reuses it only after [`MediaEvent::Closed`].
pub type Slot = u16;
/// A room's place in the engine.
pub type RoomSlot = u16;
/// A playback's place in the engine; reused only after [`MediaEvent::Played`].
pub type PlaySlot = u16;
/// A recording's place in the engine; reused only after the recorder has finished it.
pub type RecordSlot = u16;
/// Names a bound RTP/RTCP socket pair that the shell holds ready.
pub type PortId = u32;

/// Whom a playback or recording is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AudioTarget {
    /// One leg.
    Leg(Slot),
    /// Everybody in a room.
    Room(RoomSlot),
    /// What one leg adds to its room: only to be recorded.
    LegInput(Slot),
}

/// Why a playback ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// It was heard to its end.
    Completed,
    /// It was stopped.
    Stopped,
    /// The rest of it could not be read.
    Failed,
}

/// An order for the engine.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Opens a leg on a socket pair.
    Open {
        /// The leg's place.
        slot: Slot,
        /// The sockets it sends and receives on.
        port: PortId,
        /// What was agreed with the far end.
        stream: Negotiated,
        /// Where the signalling comes from, for far ends behind NAT.
        signalling: Option<IpAddr>,
        /// Where its RTP may come from beside the described address, for the whole call.
        beside: RtpSource,
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
        /// Where the signalling comes from.
        signalling: Option<IpAddr>,
    },
    /// Closes a leg; [`MediaEvent::Closed`] follows.
    Close {
        /// The leg.
        slot: Slot,
    },
    /// Others hear it no more, or again.
    Mute {
        /// The leg.
        slot: Slot,
        /// No more.
        on: bool,
    },
    /// It is on hold by our side, or no more: cut off from its room, but not from what is played to it.
    Hold {
        /// The leg.
        slot: Slot,
        /// On hold.
        on: bool,
    },
    /// The call is answered and the far end has not acknowledged that, or now it has: what is sent to it pauses after 2 s
    /// without an acknowledgement or sound from it.
    Unproven {
        /// The leg.
        slot: Slot,
        /// It has not.
        on: bool,
    },
    /// It hears nobody any more, or again.
    Deaf {
        /// The leg.
        slot: Slot,
        /// Nobody.
        on: bool,
    },
    /// Puts a leg into a room, out of the one it was in.
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
    /// Takes a leg out of its room.
    Leave {
        /// The leg.
        slot: Slot,
    },
    /// Sends digits, after those that wait already.
    Digits {
        /// The leg.
        slot: Slot,
        /// As tones in the sound, though the far end takes events.
        in_band: bool,
        /// `0`–`9`, `*`, `#`, `A`–`D`.
        digits: String,
    },
    /// Tells when somebody speaks on the leg, from now on.
    Speaking {
        /// The leg.
        slot: Slot,
    },
    /// Starts answering-machine detection, in place of any that runs.
    Amd {
        /// The leg.
        slot: Slot,
        /// What decides.
        parameters: Parameters,
    },
    /// Asks for [`MediaEvent::Quality`].
    Quality {
        /// The leg.
        slot: Slot,
    },
    /// Opens a room.
    OpenRoom {
        /// Its place.
        room: RoomSlot,
        /// Its rate, Hz.
        rate: u32,
    },
    /// Closes a room; nobody is in it any more.
    CloseRoom {
        /// The room.
        room: RoomSlot,
    },
    /// Plays a tone until it is stopped.
    PlayTone {
        /// Its place.
        play: PlaySlot,
        /// Who hears it.
        target: AudioTarget,
        /// Rate of the target, Hz.
        rate: u32,
        /// The tone.
        tone: ToneSpec,
        /// Volume in steps of 3 dB.
        volume: i8,
    },
    /// Plays what a feeder puts into the ring of this place.
    PlayFed {
        /// Its place.
        play: PlaySlot,
        /// Who hears it.
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
    /// Starts a recording into the ring of this place.
    Record {
        /// Its place.
        record: RecordSlot,
        /// What is recorded.
        target: AudioTarget,
    },
    /// Records silence instead, or the sound again.
    PauseRecord {
        /// The recording.
        record: RecordSlot,
        /// Silence.
        on: bool,
    },
    /// Ends a recording; its ring is closed behind the last frame.
    StopRecord {
        /// The recording.
        record: RecordSlot,
    },
}

/// News from the engine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MediaEvent {
    /// The far end pressed a key: `0`–`9`, `*`, `#`, `A`–`D`.
    Digit {
        /// The leg.
        slot: Slot,
        /// The key.
        digit: char,
    },
    /// Somebody began to speak, or fell silent.
    Speaking {
        /// The leg.
        slot: Slot,
        /// Speaks.
        on: bool,
    },
    /// News of answering-machine detection.
    Amd {
        /// The leg.
        slot: Slot,
        /// What was found.
        news: News,
    },
    /// How well the media of a leg travels.
    Quality {
        /// The leg.
        slot: Slot,
        /// How well so far.
        quality: Quality,
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
    /// A playback is over.
    Played {
        /// The playback.
        play: PlaySlot,
        /// How much of it was heard, ms.
        played_ms: u64,
        /// Why it ended.
        over: Over,
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
    /// Packets refused because they did not come from the locked source.
    pub foreign: u64,
    /// Packets that came too late to be played.
    pub late: u64,
    /// 20 ms frames made up because nothing came in time.
    pub concealed: u64,
    /// Ticks of the media thread that began over 5 ms late in its time.
    pub late_ticks: u64,
    /// Digits, either way, for which a full queue had no room.
    pub digits_dropped: u64,
    /// Round trip by the far end's reports (RFC 3550 §6.4.1), ms; `None`: it sends none.
    pub rtt_ms: Option<f64>,
    /// Delay that the jitter buffer adds, ms.
    pub playing_ms: f64,
    /// How much faster than ours the far end's clock runs, parts per million.
    pub drift_ppm: f64,
    /// Mean opinion score by the E-model (ITU-T G.107), 1 to 4.5; 0: nothing was received.
    pub mos: f64,
}

impl Quality {
    /// Adds the counters of another leg; times and scores are no counters.
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
