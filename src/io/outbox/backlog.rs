//! Bounded backlog of changes while the disk cannot be written: changes that cancel each other are removed,
//! and less important ones are dropped before the state and the end of active legs and recordings.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::rows::Op;
use crate::delivery::events::Item;
use crate::delivery::share::{Holding, to_give_up};

/// Maximum bytes of events in the backlog.
const MAX_BYTES: u64 = 8 << 20;

/// Reduces `backlog` to `most` changes, and its events to [`MAX_BYTES`].
pub(super) fn shrink(backlog: &mut VecDeque<Op>, most: usize) {
    let size = |op: &Op| if let Op::Event { item, .. } = op { item.body.len() as u64 } else { 0 };
    let too_large = |backlog: &VecDeque<Op>| backlog.iter().map(size).sum::<u64>() > MAX_BYTES;
    let too_many = backlog.len() > most;
    if !too_many && !too_large(backlog) {
        return;
    }
    cancel_events(backlog);
    if too_large(backlog) {
        give_up(backlog, MAX_BYTES - MAX_BYTES / 16, |item| Some(item.body.len() as u64));
    }
    if !too_many {
        return;
    }
    cancel_legs(backlog);
    merge_legs(backlog);
    let others = |item: &Item| (!item.terminal).then_some(1);
    let count = backlog.iter().filter(|op| matches!(op, Op::Event { item, .. } if !item.terminal)).count();
    let excess = backlog.len().saturating_sub(most);
    give_up(backlog, count.saturating_sub(excess) as u64, others);
    // Events that were delivered already may be sent once more, with the same id.
    drop_oldest(backlog, most, |op| matches!(op, Op::Done(_)));
    drop_oldest(backlog, most, |_| true);
}

/// Drops events, of the largest origins first, so that those for which `size` returns a value use at most
/// `room`.
fn give_up(backlog: &mut VecDeque<Op>, room: u64, size: impl Fn(&Item) -> Option<u64>) {
    let held = backlog.iter().filter_map(|op| {
        let Op::Event { item, .. } = op else { return None };
        Some(Holding { row: item.row, origin: item.origin, terminal: item.terminal, size: size(item)? })
    });
    let gone: BTreeSet<u64> = to_give_up(held, room).into_iter().collect();
    backlog.retain(|op| !matches!(op, Op::Event { item, .. } if gone.contains(&item.row)));
}

/// Removes events that were delivered already.
fn cancel_events(backlog: &mut VecDeque<Op>) {
    let noted = |op: &Op| if let Op::Event { item, .. } = op { Some(item.row) } else { None };
    let done = |op: &Op| if let Op::Done(row) = op { Some(*row) } else { None };
    let arrived: BTreeSet<u64> = backlog.iter().filter_map(done).collect();
    let both: BTreeSet<u64> = backlog.iter().filter_map(noted).filter(|r| arrived.contains(r)).collect();
    backlog.retain(|op| noted(op).or(done(op)).is_none_or(|row| !both.contains(&row)));
}

/// Removes legs that ended before they were ever stored: their first change is still in the backlog.
fn cancel_legs(backlog: &mut VecDeque<Op>) {
    let gone = |op: &Op| if let Op::LegGone(id) = op { Some(id.clone()) } else { None };
    let born = |op: &Op| if let Op::Leg(l) = op { (l.seq == 1).then(|| l.id.clone()) } else { None };
    let over: BTreeSet<String> = backlog.iter().filter_map(gone).collect();
    let both: BTreeSet<String> = backlog.iter().filter_map(born).filter(|id| over.contains(id)).collect();
    let of_leg = |op: &Op| if let Op::Leg(leg) = op { Some(leg.id.clone()) } else { gone(op) };
    backlog.retain(|op| of_leg(op).is_none_or(|id| !both.contains(&id)));
}

/// Merges the changes of a leg: the first has its creation time, the last its event number.
fn merge_legs(backlog: &mut VecDeque<Op>) {
    let leg = |op: &Op| if let Op::Leg(l) = op { Some((l.id.clone(), l.seq)) } else { None };
    let last: BTreeMap<String, u64> = backlog.iter().filter_map(leg).collect();
    backlog.retain(|op| {
        let Op::Leg(l) = op else { return true };
        l.seq == 1 || l.answered_ms.is_some() || last.get(&l.id) == Some(&l.seq)
    });
}

fn drop_oldest(backlog: &mut VecDeque<Op>, most: usize, may: impl Fn(&Op) -> bool) {
    let mut excess = backlog.len().saturating_sub(most);
    if excess == 0 {
        return;
    }
    backlog.retain(|op| {
        let dropped = excess > 0 && may(op);
        excess -= usize::from(dropped);
        !dropped
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::source::Source;
    use crate::delivery::events::Destination;
    use crate::delivery::share::Origin;
    use crate::io::outbox::rows::LegRow;

    fn event(row: u64, terminal: bool) -> Op {
        let (event_id, body) = (String::new(), (*b"{}").into());
        let item = Item { row, leg: None, event_id, body, terminal, origin: Origin::Own, stored: false };
        let to = Destination { url: String::new(), secret: String::new(), trusted: true };
        Op::Event { to, item, at_ms: 0 }
    }

    fn leg(id: &str, seq: u64) -> Op {
        Op::Leg(LegRow { id: id.to_owned(), seq, created_ms: 100 + seq, ..LegRow::default() })
    }

    fn gone(id: &str) -> Op {
        Op::LegGone(id.to_owned())
    }

    #[test]
    fn the_end_of_a_stored_leg_is_not_dropped() {
        let all = vec![
            gone("old"),
            Op::Done(1),
            leg("long", 7),
            leg("young", 1),
            event(2, false),
            event(3, true),
            gone("young"),
            Op::Done(3),
            gone("long"),
            event(4, true),
            leg("alive", 3),
        ];
        let shrunk = |most: usize| {
            let mut backlog: VecDeque<Op> = all.clone().into();
            shrink(&mut backlog, most);
            Vec::from(backlog)
        };
        assert_eq!(shrunk(11), all);
        let kept = vec![
            gone("old"),
            Op::Done(1),
            leg("long", 7),
            event(2, false),
            gone("long"),
            event(4, true),
            leg("alive", 3),
        ];
        assert_eq!(shrunk(10), kept);
        let mut less = kept;
        less.remove(3);
        assert_eq!(shrunk(6), less, "a non-terminal event");
        less.remove(1);
        assert_eq!(shrunk(5), less, "a delivered event");
        assert_eq!(shrunk(2), less[3..]);
    }

    #[test]
    fn events_are_bounded_in_bytes_and_a_flood_does_not_displace_others() {
        let of = |row: u64| {
            let mut op = event(row, false);
            if let Op::Event { item, .. } = &mut op {
                item.body = vec![b'x'; 8000].into();
                let flood = Origin::Stranger(Source::of([127, 0, 0, 9].into()));
                item.origin = if row <= 30 { Origin::Own } else { flood };
            }
            op
        };
        let mut backlog: VecDeque<Op> = (1..=3000).map(of).collect();
        shrink(&mut backlog, 16_384);
        let rows = |op: &Op| if let Op::Event { item, .. } = op { Some(item.row) } else { None };
        let kept: Vec<u64> = backlog.iter().filter_map(rows).collect();
        assert!(kept.len() as u64 * 8000 <= MAX_BYTES && kept.len() > 900, "{}", kept.len());
        assert!(kept.iter().copied().take(30).eq(1..=30) && kept.last() == Some(&3000));
        shrink(&mut backlog, 100);
        assert_eq!(backlog.iter().filter_map(rows).take(31).collect::<Vec<_>>()[..30], kept[..30]);
        assert_eq!(backlog.len(), 100);
    }

    #[test]
    fn of_a_long_call_the_start_and_the_last_number_are_kept() {
        let mut backlog: VecDeque<Op> = (1..=9).map(|seq| leg("a", seq)).collect();
        shrink(&mut backlog, 4);
        assert_eq!(Vec::from(backlog), [leg("a", 1), leg("a", 9)]);
    }
}
