//! Event sequences sent by far ends, and the digits expected from them.

use super::super::sequence::Sequence;
use super::super::telephone_event::{Sender, code_of};
use super::*;

/// A packet: number, timestamp, marker, event.
type Sent = (u16, u32, bool, Event);

fn event(digit: char, duration: u16, end: bool) -> Event {
    Event { code: code_of(digit).unwrap(), end, volume: 10, duration }
}

/// A key press as sent by our own sender, numbered from `first`.
fn key(digit: char, first: u16, timestamp: u32) -> Vec<Sent> {
    let mut s = Sender::default();
    s.start(code_of(digit).unwrap(), timestamp);
    let mut out = Vec::new();
    while s.is_active() {
        out.extend(s.tick(160));
    }
    let numbers = (0u16..).map(|i| first.wrapping_add(i));
    out.iter().zip(numbers).map(|(p, n)| (n, p.timestamp, p.marker, p.event)).collect()
}

/// Digits received from the packets, one packet a tick, and half a second of silence afterwards.
fn heard(packets: impl IntoIterator<Item = Sent>) -> String {
    let (mut r, mut s) = (EventReceiver::default(), Sequence::default());
    let mut out = String::new();
    for (number, timestamp, marker, event) in packets {
        out.extend(r.packet(s.note(number), timestamp, marker, event).into_iter().flatten());
        out.extend(r.tick());
    }
    out.extend((0..25).filter_map(|_| r.tick()));
    assert!(!r.in_progress());
    out
}

#[test]
fn each_digit_is_heard_once_whatever_is_lost_and_copied() {
    for lost in 0u32..127 {
        let keys = ['1', '1', '#'].into_iter().zip(0u16..);
        let sent = keys.flat_map(|(d, i)| key(d, 100 + i * 7, 1000 + u32::from(i) * 2000));
        let come = sent.filter(|p| lost & (1 << ((p.0 - 100) % 7)) == 0);
        assert_eq!(heard(come.flat_map(|p| [p, p])), "11#", "lost {lost:#b}");
    }
}

#[test]
fn timestamps_that_fall_lose_no_key() {
    let falls = [900_000u32, 5_000, 4_000_000_000, 160, 160 + 1000];
    let sent = falls
        .into_iter()
        .zip(0u16..)
        .flat_map(|(t, i)| key(['1', '2', '2', '3', '4'][usize::from(i)], i * 7, t));
    assert_eq!(heard(sent), "12234");
}

#[test]
fn a_sender_that_begins_anew_loses_no_key_and_doubles_none() {
    for jump in [20_000u16, 500, 64_000, 40_000] {
        let mut sent = key('1', 30_000, 10_000);
        // Sequence numbers jump within the repeated end packets.
        sent.iter_mut().skip(5).for_each(|p| p.0 = p.0.wrapping_sub(jump));
        sent.extend(key('2', 30_007u16.wrapping_sub(jump), 500));
        assert_eq!(heard(sent), "12", "{jump}");
    }
}

#[test]
fn a_late_end_is_no_second_key_even_behind_the_next_key() {
    let (first, second) = (key('5', 10, 1_000), key('6', 17, 3_000));
    for at in 0..second.len() {
        for late in 4..7 {
            let mut sent: Vec<Sent> = first.iter().filter(|p| p.0 != 10 + late).copied().collect();
            sent.extend(second.iter().copied());
            sent.insert(6 + at, first[usize::from(late)]);
            assert_eq!(heard(sent), "56", "end {late} behind packet {at}");
        }
    }
    // All packets of a key press but one are lost, and that one is overtaken by the next key press.
    let mut sent = second;
    sent.insert(2, first[5]);
    sent.insert(0, key('4', 3, 100)[6]);
    assert_eq!(heard(sent), "456");
}

/// A key held for `ticks` of 20 ms (RFC 4733 §2.5.1.3): consecutive full segments without an end packet.
fn long(digit: char, units: u32, ticks: u32, full: u32) -> Vec<Sent> {
    let (mut timestamp, mut duration) = (7_000u32, 0);
    let mut out: Vec<Sent> = Vec::new();
    for i in 0..ticks {
        duration += units;
        if duration > full {
            out.push((out.len() as u16, timestamp, false, event(digit, full as u16, false)));
            timestamp = timestamp.wrapping_add(full);
            duration -= full;
        }
        out.push((out.len() as u16, timestamp, i == 0, event(digit, duration as u16, false)));
    }
    for _ in 0..3 {
        out.push((out.len() as u16, timestamp, false, event(digit, duration as u16, true)));
    }
    out
}

#[test]
fn a_long_key_in_segments_is_one() {
    for (units, ticks) in [(160, 450), (160, 1700), (960, 150), (960, 1000)] {
        for full in [0xffff, 0xffff / units * units] {
            let sent = long('7', units, ticks, full);
            assert_eq!(heard(sent.clone()), "7", "{units} {ticks} {full}");
            // A gap in the packets at any position.
            for gap in (0..sent.len() - 20).step_by(7) {
                let (before, after) = (&sent[..gap], &sent[gap + 15..]);
                let (mut r, mut s, mut out) = (EventReceiver::default(), Sequence::default(), String::new());
                let mut take = |r: &mut EventReceiver, part: &[Sent]| {
                    for p in part {
                        out.extend(r.packet(s.note(p.0), p.1, p.2, p.3).into_iter().flatten());
                        out.extend(r.tick());
                    }
                };
                take(&mut r, before);
                let waited: Vec<char> = (0..15).filter_map(|_| r.tick()).collect();
                take(&mut r, after);
                out.extend(waited);
                assert_eq!(out, "7", "{units} {ticks} {full}, a gap at {gap}");
            }
        }
    }
}

#[test]
fn the_same_key_pressed_again_is_two() {
    // Exactly one segment length after the first, with and without its first packet.
    let mut sent = key('3', 0, 1_000);
    sent.extend(key('3', 7, 1_000 + 0xffff));
    assert_eq!(heard(sent.iter().copied()), "33");
    assert_eq!(heard(sent.into_iter().filter(|p| p.0 != 7)), "33");
    // Two keys with the same timestamp are distinguished by their codes.
    let mut sent = key('3', 0, 1_000);
    sent.extend(key('4', 7, 1_000));
    assert_eq!(heard(sent), "34");
}

#[test]
fn events_that_are_no_digits_are_none() {
    let flash = Event { code: 16, end: false, volume: 0, duration: 160 };
    assert_eq!(heard([(1, 0, true, flash), (2, 0, false, Event { end: true, ..flash })]), "");
}
