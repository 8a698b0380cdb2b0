//! Event types: name, description, and fields.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;

use super::leg::*;
use super::media::*;
use super::registration::*;

/// Declares the event types: wire name, description, and fields.
macro_rules! events {
    ($($name:literal, $when:literal: $variant:ident($body:ty)),* $(,)?) => {
        /// Event body by type.
        #[derive(Debug, Clone, PartialEq, Serialize)]
        #[serde(tag = "type")]
        pub enum EventBody {
            $(#[doc = $when] #[serde(rename = $name)] $variant($body)),*
        }

        impl EventBody {
            /// The type, e.g. `leg.ringing`.
            #[must_use]
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name),* }
            }
        }

        /// Description of an event type.
        #[derive(Debug, Clone, Copy)]
        pub struct EventType {
            /// Wire name.
            pub name: &'static str,
            /// When it is sent.
            pub when: &'static str,
            /// Schema of its fields.
            pub schema: fn(&mut SchemaGenerator) -> Schema,
        }

        /// All types of events.
        pub const EVENT_TYPES: &[EventType] = &[
            $(EventType { name: $name, when: $when, schema: <$body>::json_schema }),*
        ];
    };
}

events! {
    "leg.ringing", "An inbound call has arrived, or an outbound call is being placed.":
        LegRinging(LegRinging),
    "leg.early_media", "Media was opened before the call is answered.": LegEarlyMedia(LegState),
    "leg.connected", "The call is answered.": LegConnected(LegState),
    "leg.hold", "Either end has put the call on hold.": LegHold(LegState),
    "leg.unhold", "The hold is over.": LegUnhold(LegState),
    "leg.muted", "Others do not hear the leg any more.": LegMuted(Empty),
    "leg.unmuted", "Others hear the leg again.": LegUnmuted(Empty),
    "leg.deaf", "The leg does not hear others any more.": LegDeaf(Empty),
    "leg.undeaf", "The leg hears others again.": LegUndeaf(Empty),
    "leg.command_failed", "A command whose request was answered before its outcome was known has failed.":
        LegCommandFailed(CommandFailed),
    "leg.dtmf", "The far end has sent a DTMF digit.": LegDtmf(Digit),
    "dtmf.received", "The far end has sent a DTMF digit (replaces `leg.dtmf`, setting `events.dtmf_type`).":
        DtmfReceived(Digit),
    "leg.joined_room", "The leg has joined a room.": LegJoinedRoom(Empty),
    "leg.left_room", "The leg has left its room.": LegLeftRoom(Empty),
    "leg.transfer_initiated", "The API has requested a transfer of the far end (REFER sent).":
        LegTransferInitiated(TransferInitiated),
    "leg.transfer_requested", "The far end has requested a transfer (REFER received).":
        LegTransferRequested(TransferRequested),
    "leg.transfer_progress", "The transfer target is ringing.": LegTransferProgress(TransferOutcome),
    "leg.transfer_completed", "The transfer target has answered.": LegTransferCompleted(TransferOutcome),
    "leg.transfer_failed", "A transfer has failed; the leg continues.": LegTransferFailed(TransferOutcome),
    "leg.disconnected", "The leg has ended: its terminal event.": LegDisconnected(LegDisconnected),
    "speaking.started", "The far end has started speaking.": SpeakingStarted(Empty),
    "speaking.stopped", "The far end has stopped speaking.": SpeakingStopped(Empty),
    "amd.result", "Result of answering-machine detection.": AmdResult(AmdResult),
    "amd.beep", "The beep of an answering machine was heard.": AmdBeep(AmdBeep),
    "room.created", "A room was created.": RoomCreated(Empty),
    "room.deleted", "A room was deleted.": RoomDeleted(Empty),
    "playback.started", "A playback has started.": PlaybackStarted(PlaybackStarted),
    "playback.finished", "A playback has ended.": PlaybackFinished(PlaybackFinished),
    "playback.error", "A sound cannot be played, or not completely.": PlaybackError(PlaybackError),
    "recording.started", "A recording has started.": RecordingStarted(RecordingStarted),
    "recording.paused", "A recording was paused: silence is recorded.": RecordingPaused(RecordingPause),
    "recording.resumed", "A recording was resumed.": RecordingResumed(RecordingPause),
    "recording.finished", "A recording is complete.": RecordingFinished(RecordingFinished),
    "recording.uploaded", "A recording was uploaded and deleted from the disk.":
        RecordingUploaded(RecordingUploaded),
    "recording.upload_failed", "The upload of a recording has failed permanently; it stays on the disk.":
        RecordingUploadFailed(RecordingUploadFailed),
    "sip.registration_active", "A phone has registered.": PhoneRegistered(Phone),
    "sip.registration_expired", "A phone is no longer registered.": PhoneExpired(Phone),
    "sip.outbound_registration_active", "A trunk has registered, or its registration interval has changed.":
        TrunkRegistered(TrunkRegistered),
    "sip.outbound_registration_failed", "The registration of a trunk has failed; it will be retried.":
        TrunkRegistrationFailed(TrunkRegistrationFailed),
    "sip.outbound_registration_expired", "A trunk is no longer registered.":
        TrunkRegistrationExpired(TrunkRegistrationExpired),
}
