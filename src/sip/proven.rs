//! Sources that have acknowledged something of ours, so that their address is no forged one.

use std::collections::BTreeMap;

use crate::base::bucket::forget_oldest;
use crate::base::source::Source;

/// Sources that are remembered; past it the one that was heard of longest ago is forgotten.
const MAX_SOURCES: usize = 2048;

/// Remembers whose addresses are real.
#[derive(Debug, Default)]
pub struct Proven {
    /// When it was heard of last, in acknowledgements.
    sources: BTreeMap<Source, u64>,
    count: u64,
}

impl Proven {
    /// A source has sent what only who has seen a response of ours can know.
    pub fn note(&mut self, source: Source) {
        self.count += 1;
        if !self.sources.contains_key(&source) {
            forget_oldest(&mut self.sources, MAX_SOURCES, |at| *at);
        }
        self.sources.insert(source, self.count);
    }

    /// True for a source that has acknowledged something.
    #[must_use]
    pub fn contains(&self, source: Source) -> bool {
        self.sources.contains_key(&source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_heard_of_longest_ago_is_forgotten() {
        let source = |n: u32| Source::of(std::net::IpAddr::from(n.to_be_bytes()));
        let mut p = Proven::default();
        (0..2048).for_each(|n| p.note(source(n)));
        p.note(source(0));
        p.note(source(5000));
        assert!(p.contains(source(0)) && p.contains(source(5000)) && !p.contains(source(1)));
        assert_eq!(p.sources.len(), MAX_SOURCES);
    }
}
