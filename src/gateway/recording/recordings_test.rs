//! Tests of recordings and their tracks without calls and disk.

use std::time::Duration;

use super::{Layout, Paused, RecordingEvent, RecordingRequest, Recordings};
use crate::gateway::context::Context;
use crate::gateway::events::About;
use crate::gateway::interface::error::GatewayError;
use crate::gateway::interface::owner::MediaOwner;
use crate::gateway::interface::replies::Reply;
use crate::gateway::interface::work::{Work, Written};
use crate::gateway::legs::member::Member;
use crate::gateway::testing::{context, events, members, now, work};
use crate::media::command::{AudioTarget, Command};

const LEG: AudioTarget = AudioTarget::Leg(0);
const ROOM: AudioTarget = AudioTarget::Room(0);
const STEREO: Layout = Layout { input_rate: 8000, file_rate: 8000, channels: 2 };
const MONO: Layout = Layout { input_rate: 8000, file_rate: 8000, channels: 1 };

fn recordings(legs: usize) -> (Context, Recordings, Vec<Member>) {
    let mut ctx = context(|c| c.limits.recordings = 3);
    let members = members(&mut ctx, legs);
    let recordings = Recordings::new(ctx.config.limits.recordings);
    (ctx, recordings, members)
}

fn of_leg(member: &Member) -> MediaOwner {
    MediaOwner { target: AudioTarget::Leg(member.slot), rate: member.rate, about: About::Leg(member.leg) }
}

fn of_room(ctx: &mut Context) -> MediaOwner {
    ctx.events.add_room("hall".to_owned(), None);
    MediaOwner { target: ROOM, rate: 8000, about: About::Subject(ctx.events.room("hall")) }
}

/// Starts a recording and opens its file.
fn begun(ctx: &mut Context, recordings: &mut Recordings, owner: MediaOwner, multi_channel: bool) {
    let layout = if multi_channel { MONO } else { STEREO };
    let wanted = RecordingRequest { multi_channel, ..RecordingRequest::default() };
    recordings.start(ctx, now(), owner, layout, wanted).unwrap();
    open_all(ctx, recordings);
}

fn open_all(ctx: &mut Context, recordings: &mut Recordings) {
    for (id, _) in work(ctx) {
        recordings.handle_opened(ctx, now(), id, Ok(()));
    }
}

fn written() -> Written {
    Written { bytes: 4044, duration_ms: 250, sample_rate: 8000, channels: 1, began: 7 }
}

fn news(recordings: &mut Recordings) -> Vec<RecordingEvent> {
    std::iter::from_fn(|| recordings.poll_event()).collect()
}

#[test]
fn a_recording_begins_when_its_file_is_there_and_is_over_when_that_is_closed() {
    let (mut ctx, mut recordings, legs) = recordings(1);
    let begins =
        recordings.start(&mut ctx, now(), of_leg(&legs[0]), STEREO, RecordingRequest::default()).unwrap();
    assert_eq!((events(&mut ctx), ctx.media.len()), (vec![], 0));
    open_all(&mut ctx, &mut recordings);
    assert_eq!(events(&mut ctx), ["recording.started a"]);
    let ends = recordings.stop(&mut ctx, Some(LEG)).unwrap();
    recordings.handle_closed(&mut ctx, now(), 0, None, written());
    assert_eq!(events(&mut ctx), ["recording.finished a"]);
    assert_eq!(ctx.media, [Command::Record { record: 0, target: LEG }, Command::StopRecord { record: 0 }]);
    let replies: Vec<_> = std::iter::from_fn(|| ctx.replies.poll()).collect();
    assert!(matches!(&replies[0], (h, Ok(Reply::Recording(_))) if *h == begins), "{replies:?}");
    assert!(matches!(&replies[1], (h, Ok(Reply::Recorded { began: 7, .. })) if *h == ends), "{replies:?}");
    assert_eq!(news(&mut recordings), [RecordingEvent::Over(LEG)]);
    assert!(recordings.is_empty());
}

#[test]
fn a_file_that_cannot_be_made_is_told_and_gives_its_place_back() {
    let (mut ctx, mut recordings, legs) = recordings(1);
    let handle =
        recordings.start(&mut ctx, now(), of_leg(&legs[0]), STEREO, RecordingRequest::default()).unwrap();
    let open = work(&mut ctx).remove(0).0;
    recordings.handle_opened(&mut ctx, now(), open, Err("disk full".to_owned()));
    let reply = ctx.replies.poll();
    assert!(
        matches!(&reply, Some((h, Err(GatewayError::Failed(e)))) if *h == handle && e.contains("disk full"))
    );
    assert_eq!(news(&mut recordings), [RecordingEvent::Over(LEG)]);
    assert!(recordings.is_empty());
}

#[test]
fn a_leg_is_recorded_once_at_a_time_and_there_are_so_many() {
    let (mut ctx, mut recordings, legs) = recordings(4);
    for member in &legs[..3] {
        begun(&mut ctx, &mut recordings, of_leg(member), false);
    }
    let mut start =
        |member| recordings.start(&mut ctx, now(), of_leg(member), STEREO, RecordingRequest::default());
    assert!(matches!(start(&legs[0]), Err(GatewayError::Conflict(_))));
    assert!(matches!(start(&legs[3]), Err(GatewayError::Unavailable(_))));
}

#[test]
fn a_disk_that_fails_ends_the_recording_and_says_why() {
    let (mut ctx, mut recordings, legs) = recordings(1);
    begun(&mut ctx, &mut recordings, of_leg(&legs[0]), false);
    ctx.events.poll();
    recordings.handle_closed(&mut ctx, now(), 0, Some("no space left".to_owned()), written());
    assert_eq!(ctx.media.back(), Some(&Command::StopRecord { record: 0 }), "the engine feeds it no more");
    let finished = ctx.events.poll().unwrap().to_json("box");
    assert_eq!((&finished["error"], &finished["bytes"]), (&"no space left".into(), &4044.into()));
}

#[test]
fn pausing_is_told_once_and_only_while_it_runs() {
    let (mut ctx, mut recordings, legs) = recordings(1);
    assert!(recordings.pause(&mut ctx, now(), Some(LEG), true).is_err());
    begun(&mut ctx, &mut recordings, of_leg(&legs[0]), false);
    events(&mut ctx);
    let mut pause = |ctx: &mut Context, on| recordings.pause(ctx, now(), Some(LEG), on);
    assert_eq!((pause(&mut ctx, true), pause(&mut ctx, true)), (Ok(Paused::Changed), Ok(Paused::Already)));
    assert_eq!(pause(&mut ctx, false), Ok(Paused::Changed));
    assert_eq!(events(&mut ctx), ["recording.paused a", "recording.resumed a"]);
    recordings.stop(&mut ctx, Some(LEG)).unwrap();
    assert!(recordings.pause(&mut ctx, now(), Some(LEG), true).is_err());
}

#[test]
fn what_outlives_its_leg_is_told_without_a_number_and_frees_the_place() {
    let (mut ctx, mut recordings, legs) = recordings(1);
    begun(&mut ctx, &mut recordings, of_leg(&legs[0]), false);
    recordings.stop_of(&mut ctx, LEG);
    events(&mut ctx);
    let subject = ctx.events.leg(legs[0].leg).unwrap();
    recordings.outlive(0, &subject);
    ctx.events.remove_leg(legs[0].leg);
    assert!(!recordings.has_any_of(LEG));
    recordings.handle_closed(&mut ctx, now(), 0, None, written());
    let finished = ctx.events.poll().unwrap();
    assert_eq!(
        (finished.kind(), finished.leg_id.as_deref(), finished.leg_seq),
        ("recording.finished", Some("a"), None)
    );
}

#[test]
fn each_stay_in_a_room_has_a_track_and_all_are_put_together_at_the_end() {
    let (mut ctx, mut recordings, legs) = recordings(2);
    let room = of_room(&mut ctx);
    begun(&mut ctx, &mut recordings, room, true);
    assert_eq!(news(&mut recordings), [RecordingEvent::MembersWanted(0)]);
    for member in &legs {
        recordings.member_joined(&mut ctx, now(), 0, member.clone());
    }
    open_all(&mut ctx, &mut recordings);
    assert_eq!(ctx.media.back(), Some(&Command::Record { record: 2, target: AudioTarget::LegInput(1) }));
    recordings.member_left(&mut ctx, now(), 0, legs[0].leg);
    assert_eq!(ctx.media.back(), Some(&Command::StopRecord { record: 1 }));
    recordings.stop(&mut ctx, Some(ROOM)).unwrap();
    for record in [0, 1, 2] {
        assert_eq!(work(&mut ctx), [], "not before all files are closed");
        recordings.handle_closed(&mut ctx, now(), record, None, written());
    }
    let (id, merge) = work(&mut ctx).remove(0);
    let Work::Merge(_, merge) = merge else { panic!("{merge:?}") };
    assert_eq!((merge.channels, merge.pieces.len(), merge.duration_ms), (2, 2, 250));
    events(&mut ctx);
    recordings.handle_merged(&mut ctx, now(), id, Ok(8044));
    let finished = ctx.events.poll().unwrap().to_json("box");
    assert_eq!((&finished["room_id"], &finished["multi_channel_bytes"]), (&"hall".into(), &8044.into()));
    assert_eq!(finished["channels"]["b"]["channel"], 1);
    assert!(recordings.is_empty());
}

#[test]
fn a_leg_without_a_track_is_named_and_the_mix_is_kept() {
    let (mut ctx, mut recordings, legs) = recordings(3);
    let room = of_room(&mut ctx);
    begun(&mut ctx, &mut recordings, room, true);
    for member in &legs {
        recordings.member_joined(&mut ctx, now(), 0, member.clone());
    }
    let opening = work(&mut ctx);
    assert_eq!(opening.len(), 2, "the third finds no place");
    recordings.handle_opened(&mut ctx, now(), opening[0].0, Err("disk full".to_owned()));
    recordings.handle_opened(&mut ctx, now(), opening[1].0, Ok(()));
    recordings.stop_of(&mut ctx, ROOM);
    recordings.handle_closed(&mut ctx, now(), 0, None, written());
    recordings.handle_closed(&mut ctx, now(), 2, None, written());
    let (merge, _) = work(&mut ctx).remove(0);
    events(&mut ctx);
    recordings.handle_merged(&mut ctx, now(), merge, Err("disk full".to_owned()));
    let finished = ctx.events.poll().unwrap().to_json("box");
    assert_eq!(finished["omitted_legs"], serde_json::json!(["c", "a"]));
    assert_eq!((&finished["multi_channel_error"], &finished["bytes"]), (&"disk full".into(), &4044.into()));
}

#[test]
fn tracks_pause_with_their_recording() {
    let (mut ctx, mut recordings, legs) = recordings(1);
    let room = of_room(&mut ctx);
    begun(&mut ctx, &mut recordings, room, true);
    recordings.member_joined(&mut ctx, now(), 0, legs[0].clone());
    recordings.pause(&mut ctx, now(), Some(ROOM), true).unwrap();
    // Its file is opened while the recording is paused.
    open_all(&mut ctx, &mut recordings);
    assert_eq!(ctx.media.back(), Some(&Command::PauseRecord { record: 1, on: true }));
    recordings.pause(&mut ctx, now(), Some(ROOM), false).unwrap();
    let resumed: Vec<_> = ctx.media.iter().rev().take(2).collect();
    assert_eq!(
        resumed,
        [&Command::PauseRecord { record: 1, on: false }, &Command::PauseRecord { record: 0, on: false }]
    );
}

#[test]
fn a_leg_that_leaves_just_after_the_stop_was_there_until_then() {
    let (mut ctx, mut recordings, legs) = recordings(1);
    let room = of_room(&mut ctx);
    let begin = now();
    recordings
        .start(
            &mut ctx,
            begin,
            room,
            MONO,
            RecordingRequest { multi_channel: true, ..RecordingRequest::default() },
        )
        .unwrap();
    let open = work(&mut ctx).remove(0).0;
    recordings.handle_opened(&mut ctx, begin, open, Ok(()));
    recordings.member_joined(&mut ctx, begin, 0, legs[0].clone());
    open_all(&mut ctx, &mut recordings);
    // The room is deleted: the recording is stopped, and its members have left.
    recordings.stop_of(&mut ctx, ROOM);
    recordings.member_left(&mut ctx, begin.after(Duration::from_millis(120)), 0, legs[0].leg);
    for record in [0, 1] {
        recordings.handle_closed(&mut ctx, begin, record, None, written());
    }
    let merge = work(&mut ctx).remove(0).0;
    events(&mut ctx);
    recordings.handle_merged(&mut ctx, begin, merge, Ok(44));
    let finished = ctx.events.poll().unwrap().to_json("box");
    assert_eq!(finished["channels"]["a"]["end_ms"], 120);
}

#[test]
fn a_recording_that_is_stopped_before_its_file_is_there_begins_first() {
    let (mut ctx, mut recordings, _) = recordings(1);
    let room = of_room(&mut ctx);
    recordings
        .start(
            &mut ctx,
            now(),
            room,
            MONO,
            RecordingRequest { multi_channel: true, ..RecordingRequest::default() },
        )
        .unwrap();
    recordings.stop_of(&mut ctx, ROOM);
    open_all(&mut ctx, &mut recordings);
    assert_eq!(news(&mut recordings), [RecordingEvent::MembersWanted(0), RecordingEvent::StopWanted(ROOM)]);
    assert_eq!(ctx.media, [Command::Record { record: 0, target: ROOM }]);
}

#[test]
fn nothing_begins_for_a_leg_that_is_gone() {
    let (mut ctx, mut recordings, legs) = recordings(1);
    recordings.start(&mut ctx, now(), of_leg(&legs[0]), STEREO, RecordingRequest::default()).unwrap();
    recordings.stop_of(&mut ctx, LEG);
    let subject = ctx.events.leg(legs[0].leg).unwrap();
    recordings.outlive(0, &subject);
    open_all(&mut ctx, &mut recordings);
    assert_eq!(events(&mut ctx), [""; 0]);
    recordings.handle_closed(&mut ctx, now(), 0, None, written());
    assert_eq!(events(&mut ctx), ["recording.finished a"]);
}
