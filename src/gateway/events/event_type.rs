//! The types of events: how each is called, when it comes, what it says.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;

use super::leg::*;
use super::media::*;
use super::registration::*;

/// Declares the types of events: the name of each on the wire, when it comes, and what it says.
macro_rules! events {
    ($($name:literal, $when:literal: $variant:ident($body:ty)),* $(,)?) => {
        /// What an event says, by its type.
        #[derive(Debug, Clone, PartialEq, Serialize)]
        #[serde(tag = "type")]
        pub enum EventBody {
            $(#[doc = $when] #[serde(rename = $name)] $variant($body)),*
        }

        impl EventBody {
            /// The type, as `leg.ringing`.
            #[must_use]
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name),* }
            }
        }

        /// A type of event, for its description.
        #[derive(Debug, Clone, Copy)]
        pub struct EventType {
            /// As events name it.
            pub name: &'static str,
            /// When it comes.
            pub when: &'static str,
            /// What it says.
            pub schema: fn(&mut SchemaGenerator) -> Schema,
        }

        /// All types of events.
        pub const EVENT_TYPES: &[EventType] = &[
            $(EventType { name: $name, when: $when, schema: <$body>::json_schema }),*
        ];
    };
}

events! {
    "leg.ringing", "A call has come in, or is being placed.": LegRinging(LegRinging),
    "leg.early_media", "Media flows before the call is answered.": LegEarlyMedia(LegState),
    "leg.connected", "The call is answered.": LegConnected(LegState),
    "leg.hold", "Either end has put the call on hold.": LegHold(LegState),
    "leg.unhold", "The hold is over.": LegUnhold(LegState),
    "leg.muted", "Others do not hear the leg any more.": LegMuted(Empty),
    "leg.unmuted", "Others hear the leg again.": LegUnmuted(Empty),
    "leg.deaf", "The leg hears nobody any more.": LegDeaf(Empty),
    "leg.undeaf", "The leg hears others again.": LegUndeaf(Empty),
    "leg.command_failed", "A command whose request was answered before its outcome was known has failed.":
        LegCommandFailed(CommandFailed),
    "leg.dtmf", "The far end has sent a digit.": LegDtmf(Digit),
    "dtmf.received", "The far end has sent a digit (instead of `leg.dtmf`, by a setting).": DtmfReceived(Digit),
    "leg.joined_room", "The leg is in a room.": LegJoinedRoom(Empty),
    "leg.left_room", "The leg is in its room no more.": LegLeftRoom(Empty),
    "leg.transfer_initiated", "We ask the far end to call somebody else.": LegTransferInitiated(TransferInitiated),
    "leg.transfer_requested", "The far end asks us to call somebody else.": LegTransferRequested(TransferRequested),
    "leg.transfer_progress", "The call of a transfer rings.": LegTransferProgress(TransferOutcome),
    "leg.transfer_completed", "The call of a transfer is answered.": LegTransferCompleted(TransferOutcome),
    "leg.transfer_failed", "A transfer has failed; the leg goes on.": LegTransferFailed(TransferOutcome),
    "leg.disconnected", "The leg has ended: its last event.": LegDisconnected(LegDisconnected),
    "speaking.started", "Somebody at the far end begins to speak.": SpeakingStarted(Empty),
    "speaking.stopped", "Nobody at the far end speaks any more.": SpeakingStopped(Empty),
    "amd.result", "Who has answered: a person or a machine.": AmdResult(AmdResult),
    "amd.beep", "The beep of an answering machine was heard.": AmdBeep(AmdBeep),
    "room.created", "There is a new room.": RoomCreated(Empty),
    "room.deleted", "A room is gone.": RoomDeleted(Empty),
    "playback.started", "A playback is heard.": PlaybackStarted(PlaybackStarted),
    "playback.finished", "A playback is over.": PlaybackFinished(PlaybackFinished),
    "playback.error", "A sound cannot be played, or not to its end.": PlaybackError(PlaybackError),
    "recording.started", "A recording has begun.": RecordingStarted(RecordingStarted),
    "recording.paused", "Silence is recorded from now on.": RecordingPaused(RecordingPause),
    "recording.resumed", "Sound is recorded again.": RecordingResumed(RecordingPause),
    "recording.finished", "A recording is complete.": RecordingFinished(RecordingFinished),
    "recording.uploaded", "A recording is in its bucket, and no more on the disk.": RecordingUploaded(RecordingUploaded),
    "recording.upload_failed", "A recording will never be uploaded; it stays on the disk.":
        RecordingUploadFailed(RecordingUploadFailed),
    "sip.registration_active", "A phone has registered.": PhoneRegistered(Phone),
    "sip.registration_expired", "A phone is registered no more.": PhoneExpired(Phone),
    "sip.outbound_registration_active", "A trunk is registered, or for another time than before.":
        TrunkRegistered(TrunkRegistered),
    "sip.outbound_registration_failed", "A trunk cannot be registered now; it is tried again.":
        TrunkRegistrationFailed(TrunkRegistrationFailed),
    "sip.outbound_registration_expired", "A trunk is registered no more.": TrunkRegistrationExpired(TrunkRegistrationExpired),
}
