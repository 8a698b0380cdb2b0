//! What crosses between the threads: orders with everything they need already allocated, and what comes
//! back to be freed where freeing is allowed.

use std::net::IpAddr;

use super::amd::Amd;
use super::command::{MediaEvent, PlaySlot, RecordSlot, RoomSlot, Slot};
use super::leg::{Coders, Leg};
use super::play::Play;
use super::record::Recording;
use super::room::Room;
use crate::dsp::resample::Resampler;
use crate::sdp::Negotiated;

/// Most digits that wait in one leg.
pub const MAX_DIGITS: usize = 128;

/// Set in the code of a digit that goes out as tones in the sound, whatever was agreed.
pub const IN_BAND: u8 = 0x80;

/// Digits to send, as event codes.
pub type Digits = heapless::Vec<u8, MAX_DIGITS>;

/// Converters between a leg and its room; both `None` where the rates are equal.
#[derive(Debug, Default)]
pub struct Converters {
    /// Leg to room.
    pub up: Option<Resampler>,
    /// Room to leg.
    pub down: Option<Resampler>,
}

/// Another agreement with the far end.
#[derive(Debug)]
pub struct Renegotiation {
    /// What was agreed.
    pub stream: Negotiated,
    /// Where the signalling comes from.
    pub signalling: Option<IpAddr>,
    /// Coders, where the codec or what the far end wants of it is another.
    pub coders: Option<Box<Coders>>,
}

/// An order as the media thread takes it.
#[derive(Debug)]
pub enum EngineCommand<W> {
    /// A new leg.
    Open(Slot, Box<Leg<W>>),
    /// Another agreement with the far end.
    Update(Slot, Box<Renegotiation>),
    /// The leg ends.
    Close(Slot),
    /// Others hear it no more.
    Mute(Slot, bool),
    /// Cut off from its room by our hold.
    Hold(Slot, bool),
    /// Its answer is not acknowledged, or now it is.
    Unproven(Slot, bool),
    /// It hears nobody.
    Deaf(Slot, bool),
    /// Into a room.
    Join(Slot, RoomSlot, Box<Converters>),
    /// Out of its room.
    Leave(Slot),
    /// Digits to send: event codes.
    Digits(Slot, Box<Digits>),
    /// Tells when somebody speaks.
    Speaking(Slot),
    /// Answering-machine detection.
    Amd(Slot, Box<Amd>),
    /// How well its media travels is asked for.
    Quality(Slot),
    /// A new room.
    OpenRoom(RoomSlot, Box<Room>),
    /// The room ends.
    CloseRoom(RoomSlot),
    /// A new playback.
    Play(PlaySlot, Box<Play>),
    /// Its volume, as a factor.
    Volume(PlaySlot, f32),
    /// It ends.
    StopPlay(PlaySlot),
    /// A new recording.
    Record(RecordSlot, Box<Recording>),
    /// Silence instead.
    PauseRecord(RecordSlot, bool),
    /// It ends.
    StopRecord(RecordSlot),
}

/// What comes back.
#[derive(Debug)]
pub enum EngineOutput<W> {
    /// News for the gateway.
    Event(MediaEvent),
    /// To be freed.
    Leg(Box<Leg<W>>),
    /// To be freed.
    Renegotiation(Box<Renegotiation>),
    /// To be freed.
    Amd(Box<Amd>),
    /// To be freed.
    Room(Box<Room>),
    /// To be freed.
    Play(Box<Play>),
    /// To be freed.
    Recording(Box<Recording>),
    /// To be freed.
    Converters(Box<Converters>),
    /// To be freed.
    Digits(Box<Digits>),
}
