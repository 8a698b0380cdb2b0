//! A bounded pool that many sources share, so that none of them can take it away from the others: each source has a
//! share, strangers together leave a part to those who are known, and all of these leave a reserve to what exists already.

use std::collections::BTreeMap;

use super::source::Source;

/// Who asks for places of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nobody that we know. Source addresses of datagrams can be forged, so that there may be any number of these.
    Stranger,
    /// A source with registered phones or trunks behind it: it has one share more for each.
    Known {
        /// Phones and trunks.
        members: usize,
    },
    /// A trunk with a share of its own, percent of the pool.
    Trunk {
        /// 1 to 100.
        percent: usize,
    },
    /// Part of something that exists: a request in a dialog.
    Established,
    /// Ours: nobody's share.
    Own,
}

/// Places that are held. They go back to the pool they were taken from.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "places that are not released are lost"]
pub struct Held {
    source: Source,
    class: Class,
    places: usize,
}

impl Standing {
    fn class(self) -> Class {
        match self {
            Self::Stranger => Class::Stranger,
            Self::Known { .. } | Self::Trunk { .. } => Class::Known,
            Self::Established | Self::Own => Class::Reserve,
        }
    }
}

impl Held {
    /// True for places of a stranger.
    #[must_use]
    pub fn is_a_strangers(&self) -> bool {
        self.class == Class::Stranger
    }

    /// Whose places they are.
    #[must_use]
    pub fn source(&self) -> Source {
        self.source
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Stranger,
    Known,
    Reserve,
}

/// Sizes of a pool, in places (which may be bytes).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// All places.
    pub all: usize,
    /// What strangers and known sources may hold together; the rest is for what exists already and for ourselves.
    pub outside: usize,
    /// What strangers may hold together.
    pub strangers: usize,
    /// What one stranger may hold.
    pub share: usize,
}

impl Sizes {
    /// The sizes of a pool of so many places where nothing else is wanted: a quarter is the share of one source, an
    /// eighth is left to known sources, and another to what exists already.
    #[must_use]
    pub fn of(all: usize) -> Self {
        let eighth = all / 8;
        let strangers = all.saturating_sub(2 * eighth);
        Self {
            all,
            outside: all.saturating_sub(eighth),
            strangers,
            share: (all / 4).clamp(1.min(all), strangers),
        }
    }
}

/// What of a pool is in use when somebody asks for more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// By everybody.
    pub all: usize,
    /// By strangers and known sources.
    pub outside: usize,
    /// By strangers.
    pub strangers: usize,
    /// By the source that asks.
    pub source: usize,
}

impl Usage {
    /// Counts places that are in use; `mine`: by the source that asks.
    pub fn add(&mut self, standing: Standing, places: usize, mine: bool) {
        self.count(standing.class(), places);
        self.source += if mine { places } else { 0 };
    }

    fn count(&mut self, class: Class, places: usize) {
        self.all += places;
        self.outside += if class == Class::Reserve { 0 } else { places };
        self.strangers += if class == Class::Stranger { places } else { 0 };
    }

    fn discount(&mut self, class: Class, places: usize) {
        self.all = self.all.saturating_sub(places);
        if class != Class::Reserve {
            self.outside = self.outside.saturating_sub(places);
        }
        if class == Class::Stranger {
            self.strangers = self.strangers.saturating_sub(places);
        }
    }
}

impl Sizes {
    /// True when so many places more may be given.
    #[must_use]
    pub fn admit(&self, usage: &Usage, standing: Standing, places: usize) -> bool {
        let within = |used: usize, most: usize| used.saturating_add(places) <= most;
        let class = standing.class();
        within(usage.all, self.all)
            && within(usage.source, self.share_of(standing))
            && (class == Class::Reserve || within(usage.outside, self.outside))
            && (class != Class::Stranger || within(usage.strangers, self.strangers))
    }

    /// The most that one source of this standing may hold.
    #[must_use]
    pub fn share_of(&self, standing: Standing) -> usize {
        match standing {
            Standing::Stranger => self.share,
            Standing::Known { members } => self.share.saturating_mul(members.saturating_add(1)),
            Standing::Trunk { percent } => self.all.saturating_mul(percent).div_ceil(100),
            Standing::Established => (self.all / 2).max(self.share),
            Standing::Own => usize::MAX,
        }
    }
}

/// Places in use, by source.
#[derive(Debug)]
pub struct Pool {
    sizes: Sizes,
    usage: Usage,
    /// Only sources that hold something, so that there are never more of them than places.
    sources: BTreeMap<Source, usize>,
    refused: u64,
}

impl Pool {
    /// An empty pool.
    #[must_use]
    pub fn new(sizes: Sizes) -> Self {
        Self { sizes, usage: Usage::default(), sources: BTreeMap::new(), refused: 0 }
    }

    /// Takes places for a source; `None`, which is counted, where its share or the part of its kind is used up.
    pub fn take(&mut self, source: Source, standing: Standing, places: usize) -> Option<Held> {
        let fits = self.fits(source, standing, places);
        self.refused += u64::from(!fits);
        fits.then(|| self.hold(source, standing.class(), places))
    }

    /// True when [`Self::take`] would find room.
    #[must_use]
    pub fn fits(&self, source: Source, standing: Standing, places: usize) -> bool {
        let usage = Usage { source: self.held_by(source), ..self.usage };
        self.sizes.admit(&usage, standing, places)
    }

    /// True when the source has used up its own share, whatever the others hold.
    #[must_use]
    pub fn share_is_used(&self, source: Source, standing: Standing, places: usize) -> bool {
        self.held_by(source).saturating_add(places) > self.sizes.share_of(standing)
    }

    fn hold(&mut self, source: Source, class: Class, places: usize) -> Held {
        self.usage.count(class, places);
        *self.sources.entry(source).or_default() += places;
        Held { source, class, places }
    }

    /// Changes how many places are held, even past a limit: for what cannot be refused any more.
    pub fn resize(&mut self, held: Held, places: usize) -> Held {
        let Held { source, class, .. } = held;
        self.release(held);
        self.hold(source, class, places)
    }

    /// Gives places back.
    pub fn release(&mut self, held: Held) {
        let Held { source, class, places } = held;
        self.usage.discount(class, places);
        if let Some(n) = self.sources.get_mut(&source) {
            *n = n.saturating_sub(places);
            if *n == 0 {
                self.sources.remove(&source);
            }
        }
    }

    /// Places that a source holds.
    #[must_use]
    pub fn held_by(&self, source: Source) -> usize {
        self.sources.get(&source).copied().unwrap_or_default()
    }

    /// Places in use.
    #[must_use]
    pub fn used(&self) -> usize {
        self.usage.all
    }

    /// How often nothing was given.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(n: u32) -> Source {
        Source::of(std::net::IpAddr::from(n.to_be_bytes()))
    }

    fn fill(pool: &mut Pool, n: u32, standing: Standing) -> Vec<Held> {
        std::iter::from_fn(|| pool.take(source(n), standing, 1)).collect()
    }

    #[test]
    fn one_source_gets_its_share_and_many_leave_the_reserves() {
        let mut pool = Pool::new(Sizes::of(256));
        let one = fill(&mut pool, 1, Standing::Stranger);
        assert_eq!(one.len(), 64);
        let others: Vec<Held> =
            (2..10_000).filter_map(|n| pool.take(source(n), Standing::Stranger, 1)).collect();
        assert_eq!(one.len() + others.len(), 192, "forged sources leave a quarter of all");
        assert_eq!(fill(&mut pool, 70_000, Standing::Known { members: 1 }).len(), 32);
        assert!(pool.take(source(70_001), Standing::Known { members: 9 }, 1).is_none());
        assert_eq!(fill(&mut pool, 70_001, Standing::Established).len(), 32);
        assert!(pool.take(source(70_001), Standing::Own, 1).is_none(), "256 are used");
        assert_eq!((pool.used(), pool.refused() > 9_000), (256, true));
        others.into_iter().chain(one).for_each(|held| pool.release(held));
        assert_eq!((pool.used(), pool.sources.len()), (64, 2), "who holds nothing is forgotten");
    }

    #[test]
    fn a_share_grows_with_phones_and_trunks_or_is_set() {
        let most = |standing| fill(&mut Pool::new(Sizes::of(400)), 1, standing).len();
        assert_eq!(most(Standing::Stranger), 100);
        assert_eq!(most(Standing::Known { members: 1 }), 200);
        assert_eq!(most(Standing::Known { members: 50 }), 350, "less the reserve");
        assert_eq!(most(Standing::Trunk { percent: 10 }), 40);
        assert_eq!(most(Standing::Established), 200);
        assert_eq!(most(Standing::Own), 400);
    }

    #[test]
    fn small_pools_serve_somebody_and_bytes_count_as_places() {
        for all in 1..8 {
            assert!(!fill(&mut Pool::new(Sizes::of(all)), 1, Standing::Stranger).is_empty(), "{all}");
        }
        assert!(fill(&mut Pool::new(Sizes::of(0)), 1, Standing::Own).is_empty());
        let mut pool = Pool::new(Sizes::of(1000));
        let held = pool.take(source(1), Standing::Stranger, 200).unwrap();
        assert!(pool.take(source(1), Standing::Stranger, 51).is_none());
        let held = pool.resize(held, 20);
        assert!(pool.fits(source(1), Standing::Stranger, 230));
        pool.release(held);
        assert_eq!((pool.used(), pool.held_by(source(1))), (0, 0));
    }
}
