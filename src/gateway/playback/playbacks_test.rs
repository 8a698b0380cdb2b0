//! Tests of playbacks without calls.

use super::{Playbacks, Sound, tone};
use crate::gateway::context::Context;
use crate::gateway::events::About;
use crate::gateway::interface::error::GatewayError;
use crate::gateway::interface::owner::MediaOwner;
use crate::gateway::interface::work::Work;
use crate::gateway::testing::{context, events, members, now, work};
use crate::media::command::Over;
use crate::media::command::{AudioTarget, Command};

const LEG: AudioTarget = AudioTarget::Leg(0);

fn playbacks() -> (Context, Playbacks, MediaOwner) {
    let mut ctx = context(|c| c.limits.playbacks = 2);
    let leg = members(&mut ctx, 1)[0].leg;
    let playbacks = Playbacks::new(ctx.config.limits.playbacks);
    (ctx, playbacks, MediaOwner { target: LEG, rate: 8000, about: About::Leg(leg) })
}

fn beep() -> Sound {
    Sound::Tone(tone("us_ringback").expect("a tone"))
}

fn file() -> Sound {
    Sound::File { url: "http://prompts/a.wav".to_owned(), repeat: 1, bare: None }
}

#[test]
fn a_tone_begins_at_once_and_a_file_once_it_is_fetched() {
    let (mut ctx, mut plays, owner) = playbacks();
    plays.start(&mut ctx, now(), owner.clone(), beep(), 0).unwrap();
    assert_eq!(events(&mut ctx), ["playback.started a"]);
    plays.start(&mut ctx, now(), owner, file(), -3).unwrap();
    assert_eq!(events(&mut ctx), [""; 0]);
    let fetch = work(&mut ctx).remove(0).0;
    plays.handle_fetched(&mut ctx, now(), fetch, Ok(()));
    assert_eq!(events(&mut ctx), ["playback.started a"]);
    let fed = Command::PlayFed { play: 1, target: LEG, rate: 8000, volume: -3 };
    assert_eq!(ctx.media.back(), Some(&fed));
}

#[test]
fn there_are_so_many_and_each_place_is_given_back() {
    let (mut ctx, mut plays, owner) = playbacks();
    for _ in 0..2 {
        plays.start(&mut ctx, now(), owner.clone(), beep(), 0).unwrap();
    }
    let third = plays.start(&mut ctx, now(), owner.clone(), beep(), 0);
    assert!(matches!(third, Err(GatewayError::Unavailable(_))), "{third:?}");
    assert_eq!(plays.handle_played(&mut ctx, now(), 0, 200, Over::Completed), Some(LEG));
    assert_eq!(events(&mut ctx).last().unwrap(), "playback.finished a");
    plays.start(&mut ctx, now(), owner.clone(), file(), 0).unwrap();
    let fetch = work(&mut ctx).remove(0).0;
    plays.handle_fetched(&mut ctx, now(), fetch, Err("404".to_owned()));
    assert_eq!(events(&mut ctx), ["playback.error a"]);
    assert_eq!(plays.used(), 1);
    assert!(plays.start(&mut ctx, now(), owner, beep(), 0).is_ok());
}

#[test]
fn what_is_stopped_while_it_is_fetched_ends_at_once_and_is_never_heard() {
    let (mut ctx, mut plays, owner) = playbacks();
    let id = plays.start(&mut ctx, now(), owner, file(), 0).unwrap();
    let fetch = work(&mut ctx).remove(0).0;
    plays.stop(&mut ctx, now(), Some(LEG), &id).unwrap();
    assert_eq!(work(&mut ctx), [(fetch, Work::GiveUp(fetch))]);
    assert_eq!(events(&mut ctx), ["playback.finished a"]);
    plays.handle_fetched(&mut ctx, now(), fetch, Ok(()));
    assert!(ctx.media.is_empty() && plays.is_empty());
}

#[test]
fn a_playback_is_found_at_its_owner_alone_and_until_it_is_stopped() {
    let (mut ctx, mut plays, owner) = playbacks();
    let id = plays.start(&mut ctx, now(), owner, beep(), 0).unwrap();
    for elsewhere in [None, Some(AudioTarget::Leg(1)), Some(AudioTarget::Room(0))] {
        assert!(plays.set_volume(&mut ctx, elsewhere, &id, 3).is_err(), "{elsewhere:?}");
        assert!(plays.stop(&mut ctx, now(), elsewhere, &id).is_err(), "{elsewhere:?}");
    }
    assert_eq!(plays.set_volume(&mut ctx, Some(LEG), &id, 3), Ok(()));
    assert_eq!(ctx.media.back(), Some(&Command::Volume { play: 0, volume: 3 }));
    assert_eq!(plays.stop(&mut ctx, now(), Some(LEG), &id), Ok(()));
    assert!(plays.stop(&mut ctx, now(), Some(LEG), &id).is_err(), "it is stopping already");
    assert!(plays.has_any_of(LEG), "its last event is to come");
}

#[test]
fn all_playbacks_of_a_leg_that_ends_stop_and_no_others() {
    let (mut ctx, mut plays, owner) = playbacks();
    plays.start(&mut ctx, now(), owner.clone(), beep(), 0).unwrap();
    plays.start(&mut ctx, now(), MediaOwner { target: AudioTarget::Room(0), ..owner }, beep(), 0).unwrap();
    plays.stop_all_of(&mut ctx, now(), LEG);
    let stopped: Vec<_> = ctx.media.iter().filter(|c| matches!(c, Command::StopPlay { .. })).collect();
    assert_eq!(stopped, [&Command::StopPlay { play: 0 }]);
}
