//! A bounded pool shared by many sources, with quotas so that no source can exhaust it: each source has a
//! share, unknown sources together leave a part to known ones, and both leave a reserve for established
//! calls.

use std::collections::BTreeMap;

use super::source::Source;

/// Class of a source that requests places of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Unknown source. UDP source addresses can be spoofed, so there may be any number of these.
    Stranger,
    /// A source with registered phones or trunks: one additional share for each of them.
    Known {
        /// Number of phones and trunks.
        members: usize,
    },
    /// A trunk with its own share, percent of the pool.
    Trunk {
        /// 1 to 100.
        percent: usize,
    },
    /// Part of an established dialog, e.g. an in-dialog request.
    Established,
    /// Our own requests: not charged to any share.
    Own,
}

/// Places taken from a pool. They must be released to the same pool.
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
    /// True for places of an unknown source.
    #[must_use]
    pub fn is_a_strangers(&self) -> bool {
        self.class == Class::Stranger
    }

    /// The source that holds the places.
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

/// Limits of a pool, in places (which may be bytes).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Total places.
    pub all: usize,
    /// Limit for unknown and known sources together; the rest is reserved for established calls and for
    /// ourselves.
    pub outside: usize,
    /// Limit for all unknown sources together.
    pub strangers: usize,
    /// Limit for one unknown source.
    pub share: usize,
}

impl Sizes {
    /// Default limits of a pool of this size: one source may hold a quarter, an eighth is reserved for known
    /// sources, and another eighth for established calls.
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

/// Usage of a pool when more is requested.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// By all.
    pub all: usize,
    /// By unknown and known sources.
    pub outside: usize,
    /// By unknown sources.
    pub strangers: usize,
    /// By the requesting source.
    pub source: usize,
}

impl Usage {
    /// Adds places in use; `mine`: held by the requesting source.
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
    /// True if this many more places may be taken.
    #[must_use]
    pub fn admit(&self, usage: &Usage, standing: Standing, places: usize) -> bool {
        let within = |used: usize, most: usize| used.saturating_add(places) <= most;
        let class = standing.class();
        within(usage.all, self.all)
            && within(usage.source, self.share_of(standing))
            && (class == Class::Reserve || within(usage.outside, self.outside))
            && (class != Class::Stranger || within(usage.strangers, self.strangers))
    }

    /// Limit for one source of this class.
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
    /// Only sources that hold places, so the map is never larger than the pool.
    sources: BTreeMap<Source, usize>,
    refused: u64,
}

impl Pool {
    /// An empty pool.
    #[must_use]
    pub fn new(sizes: Sizes) -> Self {
        Self { sizes, usage: Usage::default(), sources: BTreeMap::new(), refused: 0 }
    }

    /// Takes places for a source; `None` (counted) if its share or the limit of its class is exhausted.
    pub fn take(&mut self, source: Source, standing: Standing, places: usize) -> Option<Held> {
        let fits = self.fits(source, standing, places);
        self.refused += u64::from(!fits);
        fits.then(|| self.hold(source, standing.class(), places))
    }

    /// True if [`Self::take`] would succeed.
    #[must_use]
    pub fn fits(&self, source: Source, standing: Standing, places: usize) -> bool {
        let usage = Usage { source: self.held_by(source), ..self.usage };
        self.sizes.admit(&usage, standing, places)
    }

    /// True if the source has exhausted its own share, whatever the others hold.
    #[must_use]
    pub fn share_is_used(&self, source: Source, standing: Standing, places: usize) -> bool {
        self.held_by(source).saturating_add(places) > self.sizes.share_of(standing)
    }

    fn hold(&mut self, source: Source, class: Class, places: usize) -> Held {
        self.usage.count(class, places);
        *self.sources.entry(source).or_default() += places;
        Held { source, class, places }
    }

    /// Changes the number of places held, even beyond a limit: for growth that can no longer be refused.
    pub fn resize(&mut self, held: Held, places: usize) -> Held {
        let Held { source, class, .. } = held;
        self.release(held);
        self.hold(source, class, places)
    }

    /// Returns places to the pool.
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

    /// Total places in use.
    #[must_use]
    pub fn used(&self) -> usize {
        self.usage.all
    }

    /// Number of refused requests.
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
