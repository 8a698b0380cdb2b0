//! Tests of rooms without calls.

use super::{Joined, RoomEvent, Rooms};
use crate::gateway::context::Context;
use crate::gateway::events::Webhook;
use crate::gateway::interface::error::GatewayError;
use crate::gateway::interface::replies::Reply;
use crate::gateway::legs::member::Member;
use crate::gateway::testing::{context, events, members, now};
use crate::media::command::Command;

fn rooms(legs: usize) -> (Context, Rooms, Vec<Member>) {
    let mut ctx = context(|c| {
        c.limits.rooms = 2;
        c.limits.room_members = 2;
    });
    let members = members(&mut ctx, legs);
    let rooms = Rooms::new(ctx.config.limits.rooms);
    (ctx, rooms, members)
}

fn news(rooms: &mut Rooms) -> Vec<RoomEvent> {
    std::iter::from_fn(|| rooms.poll_event()).collect()
}

#[test]
fn a_room_has_a_name_of_its_own_a_rate_that_exists_and_a_place() {
    let (mut ctx, mut rooms, _) = rooms(0);
    let mut create = |id: &str, rate| rooms.create(&mut ctx, now(), Some(id.to_owned()), rate, None);
    assert_eq!(create("hall", Some(16_000)), Ok("hall".to_owned()));
    assert!(matches!(create("hall", None), Err(GatewayError::Conflict(_))));
    for (id, rate) in [("yard", Some(44_100)), ("a\nb", None), (&*"x".repeat(129), None)] {
        assert!(matches!(create(id, rate), Err(GatewayError::Invalid(_))), "{id:?} {rate:?}");
    }
    assert!(create("yard", None).is_ok());
    assert!(matches!(create("attic", None), Err(GatewayError::Unavailable(_))));
    assert_eq!(events(&mut ctx), ["room.created hall", "room.created yard"]);
    let rates: Vec<u32> = ctx
        .media
        .iter()
        .filter_map(|c| if let Command::OpenRoom { rate, .. } = c { Some(*rate) } else { None })
        .collect();
    assert_eq!(rates, [16_000, ctx.config.rooms.sample_rate]);
}

#[test]
fn a_leg_is_in_one_room_and_moves_in_one_step() {
    let (mut ctx, mut rooms, legs) = rooms(1);
    for room in ["hall", "yard"] {
        rooms.create_missing(&mut ctx, now(), room).unwrap();
    }
    events(&mut ctx);
    assert_eq!(rooms.join(&mut ctx, now(), &legs[0], "hall"), Ok(Joined::Added));
    let moved = Joined::Moved { from: "hall".to_owned(), to: "yard".to_owned() };
    assert_eq!(rooms.join(&mut ctx, now(), &legs[0], "yard"), Ok(moved));
    assert_eq!(
        events(&mut ctx),
        ["leg.joined_room a hall", "leg.left_room a hall", "leg.joined_room a yard"]
    );
    let leg = legs[0].leg;
    assert_eq!(
        news(&mut rooms),
        [
            RoomEvent::Joined(0, legs[0].clone()),
            RoomEvent::Left(0, leg),
            RoomEvent::Emptied(0),
            RoomEvent::Joined(1, legs[0].clone())
        ]
    );
    assert_eq!(
        (rooms.of_leg(leg), rooms.members_at(0), rooms.members_at(1)),
        (Some("yard"), &[][..], &[leg][..])
    );
}

#[test]
fn a_full_room_takes_nobody_and_one_that_is_not_there_neither() {
    let (mut ctx, mut rooms, legs) = rooms(3);
    rooms.create_missing(&mut ctx, now(), "hall").unwrap();
    for leg in &legs[..2] {
        rooms.join(&mut ctx, now(), leg, "hall").unwrap();
    }
    let before = ctx.media.len();
    let full = rooms.join(&mut ctx, now(), &legs[2], "hall");
    assert!(matches!(full, Err(GatewayError::Unavailable(_))), "{full:?}");
    let missing = rooms.join(&mut ctx, now(), &legs[2], "attic");
    assert!(matches!(missing, Err(GatewayError::NotFound(_))), "{missing:?}");
    assert_eq!((ctx.media.len(), rooms.of_leg(legs[2].leg)), (before, None));
}

#[test]
fn who_waits_for_a_leg_to_join_hears_of_it_or_that_it_has_ended() {
    let (mut ctx, mut rooms, legs) = rooms(2);
    rooms.create_missing(&mut ctx, now(), "hall").unwrap();
    let handles = [ctx.replies.expect(), ctx.replies.expect()];
    for (member, handle) in legs.iter().zip(handles) {
        rooms.join_later(member.leg, "hall".to_owned(), Some(handle));
    }
    rooms.join_waiting(&mut ctx, now(), &legs[0]);
    rooms.leg_ended(&mut ctx, now(), legs[1].leg);
    let replies: Vec<_> = std::iter::from_fn(|| ctx.replies.poll()).collect();
    assert_eq!(replies[0], (handles[0], Ok(Reply::Joined(Joined::Added))));
    assert!(matches!(&replies[1], (h, Err(GatewayError::Failed(_))) if *h == handles[1]), "{replies:?}");
    assert_eq!(rooms.rate_and_members("hall").unwrap().1, [legs[0].leg]);
}

#[test]
fn the_room_of_a_call_that_is_placed_for_it_is_made_again() {
    let (mut ctx, mut rooms, legs) = rooms(1);
    rooms.create_missing(&mut ctx, now(), "hall").unwrap();
    rooms.join_later(legs[0].leg, "hall".to_owned(), None);
    assert_eq!(rooms.wanted_by(legs[0].leg), Some("hall"));
    rooms.delete(&mut ctx, now(), "hall").unwrap();
    rooms.join_waiting(&mut ctx, now(), &legs[0]);
    assert_eq!((rooms.of_leg(legs[0].leg), rooms.wanted_by(legs[0].leg)), (Some("hall"), None));
}

#[test]
fn the_place_of_a_deleted_room_is_taken_until_it_is_released() {
    let (mut ctx, mut rooms, _) = rooms(0);
    for room in ["hall", "yard"] {
        rooms.create_missing(&mut ctx, now(), room).unwrap();
    }
    rooms.delete(&mut ctx, now(), "hall").unwrap();
    assert_eq!(news(&mut rooms), [RoomEvent::Deleted(0)]);
    assert!(!rooms.is_idle());
    assert!(rooms.create_missing(&mut ctx, now(), "attic").is_err());
    rooms.release(0);
    rooms.release(0);
    assert!(rooms.is_idle());
    assert_eq!(rooms.create_missing(&mut ctx, now(), "attic"), Ok(()));
    assert!(rooms.create_missing(&mut ctx, now(), "loft").is_err(), "a place is given back once");
}

#[test]
fn events_of_a_leg_go_to_the_webhook_of_the_room_that_it_is_in() {
    let (mut ctx, mut rooms, legs) = rooms(1);
    let webhook = Webhook { url: "http://hall/".to_owned(), secret: None };
    rooms.create(&mut ctx, now(), Some("hall".to_owned()), None, Some(webhook)).unwrap();
    rooms.join(&mut ctx, now(), &legs[0], "hall").unwrap();
    rooms.leave(&mut ctx, now(), legs[0].leg);
    let all: Vec<_> = std::iter::from_fn(|| ctx.events.poll()).collect();
    let urls: Vec<_> = all.iter().map(|e| e.webhook.as_ref().map(|w| w.url.as_str())).collect();
    assert_eq!(urls, [Some("http://hall/"); 3]);
}
