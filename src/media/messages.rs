//! Messages between the threads: commands with everything preallocated, and objects returned to be freed on
//! the control thread.

use super::amd::Amd;
use super::command::{MediaEvent, PlaySlot, RecordSlot, RoomSlot, Slot};
use super::converters::Converters;
use super::party::Party;
use super::play::Play;
use super::record::Recording;
use super::room::Room;
use super::rtp_endpoint::renegotiation::Renegotiation;
use super::rtp_endpoint::sender::Digits;

/// A command for the media thread.
#[derive(Debug)]
pub enum EngineCommand<W> {
    /// Adds a leg.
    Open(Slot, Box<Party<W>>),
    /// Renegotiated session.
    Update(Slot, Box<Renegotiation>),
    /// Closes a leg.
    Close(Slot),
    /// Mute on or off.
    Mute(Slot, bool),
    /// Local hold on or off.
    Hold(Slot, bool),
    /// ACK of the answer missing or received.
    Unproven(Slot, bool),
    /// Deaf on or off.
    Deaf(Slot, bool),
    /// Joins a room.
    Join(Slot, RoomSlot, Box<Converters>),
    /// Leaves its room.
    Leave(Slot),
    /// Sends digits, as event codes.
    Digits(Slot, Box<Digits>),
    /// Starts speech detection.
    Speaking(Slot),
    /// Starts answering-machine detection.
    Amd(Slot, Box<Amd>),
    /// Requests media quality.
    Quality(Slot),
    /// Adds a room.
    OpenRoom(RoomSlot, Box<Room>),
    /// Closes a room.
    CloseRoom(RoomSlot),
    /// Starts a playback.
    Play(PlaySlot, Box<Play>),
    /// Sets its volume, as a factor.
    Volume(PlaySlot, f32),
    /// Stops a playback.
    StopPlay(PlaySlot),
    /// Starts a recording.
    Record(RecordSlot, Box<Recording>),
    /// Pauses or resumes a recording.
    PauseRecord(RecordSlot, bool),
    /// Stops a recording.
    StopRecord(RecordSlot),
}

/// Output of the engine.
#[derive(Debug)]
pub enum EngineOutput<W> {
    /// Event for the gateway.
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
