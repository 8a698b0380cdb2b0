//! Lookup and removal of legs.

use std::time::Duration;

use super::{Leg, LegMedia, Legs};
use crate::base::time::Now;
use crate::gateway::interface::error::GatewayError;
use crate::gateway::legs::leg_id::LegId;
use crate::gateway::sip_call::{Peer, SipCall};
use crate::gateway::testing::{context, now};
use crate::gateway::trunks::Trunks;
use crate::media::command::Quality;
use crate::sip::TIMEOUT;

/// A leg that is due a second later.
fn insert(legs: &mut Legs, now: Now, name: &str) -> Option<LegId> {
    let latest = now.mono + Duration::from_secs(1);
    let make = |id| Leg::new(name.to_owned(), SipCall::ended(peer(id), now.mono, latest), now);
    legs.insert(make)
}

fn peer(id: LegId) -> Peer {
    let ctx = context(|_| {});
    Peer::called(id, Trunks::default().terms_of(&ctx, None), None)
}

fn key(call: &str) -> (String, String) {
    (call.to_owned(), "tag".to_owned())
}

#[test]
fn a_leg_is_found_by_its_name_and_its_dialog_until_it_ends() {
    let (mut legs, now) = (Legs::new(2), now());
    let id = insert(&mut legs, now, "a").unwrap();
    legs.add_dialog(key("call"), id);
    assert_eq!(
        (legs.find("a"), legs.of_dialog(&key("call")), legs.of_dialog(&key("x"))),
        (Ok(id), Some(id), None)
    );
    legs.end(now.mono, id);
    assert_eq!(
        (legs.find("a"), legs.of_dialog(&key("call"))),
        (Err(GatewayError::NotFound("leg not found")), None)
    );
    assert_eq!((legs.live_count(), legs.name_of(id)), (0, "a".to_owned()), "its last event is to come");
}

#[test]
fn ended_dialogs_are_known_for_as_long_as_requests_may_come_and_there_are_so_many() {
    let (mut legs, now) = (Legs::new(1), now());
    let id = insert(&mut legs, now, "a").unwrap();
    for call in 0..1030 {
        legs.add_dialog(key(&call.to_string()), id);
        legs.end(now.mono, id);
    }
    assert!(!legs.had_dialog(&key("5")) && legs.had_dialog(&key("6")) && legs.had_dialog(&key("1029")));
    legs.forget_recent(now.mono + TIMEOUT - Duration::from_millis(1));
    assert!(legs.had_dialog(&key("1029")));
    legs.forget_recent(now.mono + TIMEOUT);
    assert!(!legs.had_dialog(&key("1029")));
}

#[test]
fn a_leg_that_the_engine_has_not_let_go_of_takes_a_place_until_it_has() {
    let (mut legs, now) = (Legs::new(1), now());
    let id = insert(&mut legs, now, "a").unwrap();
    let slot = legs.take_slot(id).unwrap();
    *legs.get_mut(id).unwrap().media_mut() = LegMedia::in_slot(slot);
    assert_eq!((legs.at(slot), legs.take_slot(id), legs.release_late(slot)), (Some(id), None, false));
    legs.end(now.mono, id);
    legs.remove(&mut context(|_| {}), id).unwrap();
    assert_eq!((legs.at(slot), legs.are_full_for(1), legs.slots_used()), (None, true, 1));
    assert!(legs.release_late(slot) && !legs.release_late(slot), "it lets go once");
    assert!(!legs.are_full_for(1) && legs.is_idle());
}

#[test]
fn a_place_that_is_closed_is_free_with_its_leg() {
    let (mut legs, now) = (Legs::new(1), now());
    let id = insert(&mut legs, now, "a").unwrap();
    let slot = legs.take_slot(id).unwrap();
    let leg = legs.get_mut(id).unwrap();
    *leg.media_mut() = LegMedia::in_slot(slot);
    leg.media_mut().handle_closed(Quality::default());
    legs.end(now.mono, id);
    legs.remove(&mut context(|_| {}), id);
    assert!(legs.is_idle() && legs.get(id).is_none() && legs.remove(&mut context(|_| {}), id).is_none());
}

#[test]
fn there_are_so_many_legs() {
    let (mut legs, now) = (Legs::new(2), now());
    assert!(insert(&mut legs, now, "a").is_some() && !legs.are_full_for(1) && legs.are_full_for(2));
    assert!(insert(&mut legs, now, "b").is_some() && legs.are_full_for(1));
    assert_eq!(insert(&mut legs, now, "c"), None);
    assert_eq!(legs.live().map(|(name, _)| name).collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn legs_are_woken_when_they_are_due_and_not_once_they_are_gone() {
    let (mut legs, now) = (Legs::new(2), now());
    let [a, b] = ["a", "b"].map(|name| insert(&mut legs, now, name).unwrap());
    legs.reschedule(a);
    legs.reschedule(b);
    let due = now.mono + Duration::from_secs(1);
    assert_eq!((legs.next_deadline(), legs.timers(), legs.pop_due(now.mono)), (Some(due), 2, None));
    legs.remove(&mut context(|_| {}), b);
    assert_eq!((legs.pop_due(due), legs.pop_due(due), legs.timers()), (Some(a), None, 0));
}
