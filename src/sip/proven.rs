//! Sources that have acknowledged one of our messages, so that their address is not spoofed.

use std::collections::BTreeMap;

use crate::base::bucket::forget_oldest;
use crate::base::source::Source;

/// Sources remembered; beyond it the least recently seen one is evicted.
const MAX_SOURCES: usize = 2048;

/// Sources with verified addresses.
#[derive(Debug, Default)]
pub struct Proven {
    /// Order of the last acknowledgement.
    sources: BTreeMap<Source, u64>,
    count: u64,
}

impl Proven {
    /// The source sent something that requires having received our response.
    pub fn note(&mut self, source: Source) {
        self.count += 1;
        if !self.sources.contains_key(&source) {
            forget_oldest(&mut self.sources, MAX_SOURCES, |at| *at);
        }
        self.sources.insert(source, self.count);
    }

    /// True if the source has acknowledged a message.
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
