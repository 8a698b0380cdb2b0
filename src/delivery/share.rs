//! Fair dropping of events when space runs out: the origin with the most events loses first, so that one
//! caller's flood does not displace the events of other calls.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use crate::base::source::Source;

/// Origin of an event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The gateway or its API.
    #[default]
    Own,
    /// An authenticated trunk or phone.
    Known(Source),
    /// An unknown source. Addresses can be spoofed, so all unknown sources together have a share.
    Stranger(Source),
}

impl Origin {
    /// Parses the format of [`fmt::Display`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let source = |ip: &str| ip.parse::<IpAddr>().ok().map(Source::of);
        match text.split_once(' ') {
            None if text == "own" => Some(Self::Own),
            Some(("known", ip)) => source(ip).map(Self::Known),
            Some(("stranger", ip)) => source(ip).map(Self::Stranger),
            _ => None,
        }
    }

    fn is_stranger(self) -> bool {
        matches!(self, Self::Stranger(_))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => f.write_str("own"),
            Self::Known(source) => write!(f, "known {}", source.ip()),
            Self::Stranger(source) => write!(f, "stranger {}", source.ip()),
        }
    }
}

/// One stored event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holding {
    /// Row, in order of age.
    pub row: u64,
    /// Origin.
    pub origin: Origin,
    /// Terminal event of a leg or recording.
    pub terminal: bool,
    /// Space it occupies.
    pub size: u64,
}

/// Fraction of the space (1/4) that one origin may hold before its terminal events are dropped, too.
const SHARE: u64 = 4;
/// Fraction of the space (1/2) that all unknown sources together may hold before they lose events first.
const STRANGERS: u64 = 2;

/// Events of one origin: rows and sizes, the oldest last.
#[derive(Debug, Default)]
struct Part {
    size: u64,
    non_terminal: Vec<(u64, u64)>,
    terminal: Vec<(u64, u64)>,
}

impl Part {
    /// Removes the oldest non-terminal event, otherwise the oldest: row and size.
    fn give_up(&mut self) -> Option<(u64, u64)> {
        let given = self.non_terminal.pop().or_else(|| self.terminal.pop())?;
        self.size = self.size.saturating_sub(given.1);
        Some(given)
    }

    /// Rank by size; on a tie the origin with the oldest event ranks higher.
    fn rank(&self, origin: Origin) -> Option<Rank> {
        let oldest = self.non_terminal.last().or(self.terminal.last())?;
        Some((self.size, Reverse(oldest.0), origin))
    }
}

type Rank = (u64, Reverse<u64>, Origin);

/// Origins ranked by the space they hold, the largest last.
#[derive(Debug, Default)]
struct Ranking {
    /// Origins with non-terminal events.
    non_terminal: BTreeSet<Rank>,
    /// Origins with terminal events only.
    terminal: BTreeSet<Rank>,
}

impl Ranking {
    fn put(&mut self, part: &Part, origin: Origin) {
        let list = if part.non_terminal.is_empty() { &mut self.terminal } else { &mut self.non_terminal };
        list.extend(part.rank(origin));
    }

    fn remove(&mut self, rank: &Rank) {
        let _ = self.non_terminal.remove(rank) || self.terminal.remove(rank);
    }

    /// The largest origin; one with terminal events only if it holds more than `share`.
    fn over(&self, share: u64) -> Option<&Rank> {
        self.non_terminal.last().max(self.terminal.last().filter(|r| r.0 > share))
    }
}

/// The rows to drop so that the rest takes at most `room`: one by one the oldest non-terminal event of the
/// origin that holds most. Unknown sources lose first while all of them together hold more than half of the
/// space. Terminal events are dropped if their origin has nothing else and holds more than its share, a
/// quarter; otherwise only if nothing else is left.
#[must_use]
pub fn to_give_up(held: impl IntoIterator<Item = Holding>, room: u64) -> Vec<u64> {
    let mut parts: BTreeMap<Origin, Part> = BTreeMap::new();
    let (mut total, mut of_strangers) = (0u64, 0u64);
    for h in held {
        let part = parts.entry(h.origin).or_default();
        part.size += h.size;
        if h.terminal { &mut part.terminal } else { &mut part.non_terminal }.push((h.row, h.size));
        total += h.size;
        of_strangers += if h.origin.is_stranger() { h.size } else { 0 };
    }
    let (mut strangers, mut others) = (Ranking::default(), Ranking::default());
    for (origin, part) in &mut parts {
        for list in [&mut part.non_terminal, &mut part.terminal] {
            list.sort_unstable_by(|a, b| b.cmp(a));
        }
        if origin.is_stranger() { &mut strangers } else { &mut others }.put(part, *origin);
    }
    let share = room / SHARE;
    let mut gone = Vec::new();
    while total > room {
        let first = if of_strangers > room / STRANGERS {
            strangers.over(share)
        } else {
            strangers.over(share).max(others.over(share))
        };
        // Then, within their shares: origins with non-terminal events, and last any origin.
        let chosen = first
            .or_else(|| strangers.non_terminal.last().max(others.non_terminal.last()))
            .or_else(|| strangers.terminal.last().filter(|_| of_strangers > room / STRANGERS))
            .or_else(|| strangers.terminal.last().max(others.terminal.last()));
        let Some(rank) = chosen.copied() else { break };
        let Some(part) = parts.get_mut(&rank.2) else { break };
        let ranking = if rank.2.is_stranger() { &mut strangers } else { &mut others };
        ranking.remove(&rank);
        let Some((row, size)) = part.give_up() else { break };
        ranking.put(part, rank.2);
        gone.push(row);
        total -= size;
        of_strangers -= if rank.2.is_stranger() { size } else { 0 };
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stranger(n: u8) -> Origin {
        Origin::Stranger(Source::of(IpAddr::from([10, 0, 0, n])))
    }

    fn known(n: u8) -> Origin {
        Origin::Known(Source::of(IpAddr::from([10, 0, 1, n])))
    }

    fn held(row: u64, origin: Origin, terminal: bool) -> Holding {
        Holding { row, origin, terminal, size: 1 }
    }

    #[test]
    fn who_has_most_gives_up_the_oldest_and_others_keep_all() {
        let rows = |n| {
            (1..=n).map(|row| held(row, if row % 10 == 0 { known(1) } else { stranger(2) }, row % 2 == 0))
        };
        let gone = to_give_up(rows(100), 70);
        assert_eq!(gone, (0..30).map(|n| 2 * n + 1).collect::<Vec<_>>(), "none of them terminal");
        let gone = to_give_up(rows(100), 20);
        let kept: Vec<u64> = (1..=100).filter(|row| !gone.contains(row)).collect();
        assert!(kept.iter().filter(|row| *row % 10 == 0).count() == 10, "{kept:?}");
        assert!(kept.iter().rev().skip(20).all(|row| row % 10 == 0), "{kept:?}");
    }

    #[test]
    fn many_forged_strangers_take_half_at_most_of_what_others_need() {
        let of = |row: u64| match row {
            1..=30 => known(1),
            31..=45 => Origin::Own,
            n => stranger((n % 200) as u8),
        };
        let gone = to_give_up((1..=1000).map(|row| held(row, of(row), false)), 100);
        assert!(
            gone.iter().all(|row| *row > 45),
            "the greatest single one is no stranger, and loses nothing"
        );
        assert_eq!(gone.len(), 900);
    }

    #[test]
    fn terminal_events_go_last_and_where_there_is_nothing_else() {
        let rows = || (1..=8).map(|row| held(row, known(row as u8), row != 5));
        assert_eq!(to_give_up(rows(), 7), [5]);
        assert_eq!(to_give_up(rows(), 6), [5, 1]);
        assert_eq!(to_give_up(rows(), 0).len(), 8);
        assert_eq!(to_give_up(rows(), 8), [0u64; 0]);
        // A flood of short calls does not displace events of others.
        let flood = (1..=100).map(|row| held(row, if row <= 20 { known(1) } else { stranger(1) }, row > 20));
        assert!(to_give_up(flood, 50).iter().all(|row| *row > 20));
    }

    #[test]
    fn origins_are_read_as_they_are_written() {
        let v6 = Source::of("2001:db8::7".parse().unwrap());
        for origin in [Origin::Own, known(7), stranger(9), Origin::Known(v6), Origin::Stranger(v6)] {
            assert_eq!(Origin::parse(&origin.to_string()), Some(origin));
        }
        for bad in ["", "owm", "known", "known x", "strange 1.2.3.4"] {
            assert_eq!(Origin::parse(bad), None, "{bad}");
        }
    }
}
