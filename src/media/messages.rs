//! What crosses between the threads: orders with everything they need already allocated, and what comes
//! back to be freed where freeing is allowed.

use super::amd::Amd;
use super::command::{MediaEvent, PlaySlot, RecordSlot, RoomSlot, Slot};
use super::converters::Converters;
use super::party::Party;
use super::play::Play;
use super::record::Recording;
use super::room::Room;
use super::rtp_endpoint::renegotiation::Renegotiation;
use super::rtp_endpoint::sender::Digits;

/// An order as the media thread takes it.
#[derive(Debug)]
pub enum EngineCommand<W> {
    /// A new leg.
    Open(Slot, Box<Party<W>>),
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
    Party(Box<Party<W>>),
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
