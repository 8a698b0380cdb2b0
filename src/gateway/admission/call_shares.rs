//! Limits of calls per source, so that unanswered calls of one source do not block others.

use std::net::IpAddr;

use crate::base::pool::{Sizes, Standing, Usage};
use crate::base::source::Source;
use crate::gateway::legs::Legs;

/// Minimum limit of unanswered calls per source, for profiles with few legs.
const MIN_SHARE: usize = 2;

/// Limits of all legs: an eighth is reserved for outbound calls, trunks and registered phones, half of that
/// for outbound calls only. Answered calls are not limited per source, since the answering side controls
/// them.
fn leg_sizes(all: usize) -> Sizes {
    let strangers = all.saturating_sub(all / 8);
    Sizes { all, outside: all.saturating_sub(all / 16), strangers, share: strangers }
}

/// Limits of unanswered inbound legs: a quarter per source, half for all unknown sources together.
fn unanswered_sizes(all: usize) -> Sizes {
    let outside = (all.saturating_mul(3) / 4).max(MIN_SHARE);
    Sizes { all, outside, strangers: (all / 2).max(MIN_SHARE), share: (all / 4).max(MIN_SHARE) }
}

/// True if a call from this address may take one of `all` legs.
pub(super) fn admits(all_legs: &Legs, all: usize, ip: IpAddr, standing: Standing) -> bool {
    let source = Source::of(ip);
    let (mut legs, mut unanswered) = (Usage::default(), Usage::default());
    for (_, leg) in all_legs.iter() {
        let mine = leg.call().flow().is_some_and(|f| Source::of(f.addr.ip()) == source);
        legs.add(leg.standing(), 1, mine);
        if leg.call().is_ringing() {
            unanswered.add(leg.standing(), 1, mine);
        }
    }
    leg_sizes(all).admit(&legs, standing, 1) && unanswered_sizes(all).admit(&unanswered, standing, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_serves_strangers_and_leaves_legs_to_others() {
        for (all, unanswered, answered) in [(256, 64, 224), (32, 8, 28), (4, 2, 4), (1, 1, 1)] {
            let most = |sizes: Sizes| {
                let mut usage = Usage::default();
                while sizes.admit(&usage, Standing::Stranger, 1) {
                    usage.add(Standing::Stranger, 1, true);
                }
                usage.all
            };
            assert_eq!(most(unanswered_sizes(all)), unanswered, "{all}");
            assert_eq!(most(leg_sizes(all)), answered, "{all}");
        }
    }
}
