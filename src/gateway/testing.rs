//! Helpers for unit tests of the parts: a context, legs, and collected outputs.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::context::Context;
use crate::base::ids::Table;
use crate::base::rng::Rng;
use crate::base::time::{Now, Utc};
use crate::config::Config;
use crate::delivery::share::Origin;
use crate::gateway::interface::work::{Work, WorkId};
use crate::gateway::legs::leg_id::{LegId, LegKey};
use crate::gateway::legs::member::Member;
use crate::sip::locals::Locals;

/// A fixed moment.
#[expect(clippy::disallowed_methods, reason = "an arbitrary epoch")]
pub(super) fn now() -> Now {
    Now { mono: Instant::now(), utc: Utc(Duration::from_secs(1_800_000_000)) }
}

/// A context at 192.0.2.1 with settings modified by `change`.
pub(super) fn context(change: impl FnOnce(&mut Config)) -> Context {
    let mut config = Config::default();
    change(&mut config);
    let v4 = Some("192.0.2.1:5060".parse().expect("an address"));
    let locals = Locals { v4, v6: None, tls_port: None, external: None };
    Context::new(Rc::new(config), locals, Rng::from_number(1))
}

/// Legs with media at 8 kHz in slots 0, 1, …, named `a`, `b`, …
pub(super) fn members(ctx: &mut Context, count: usize) -> Vec<Member> {
    let mut ids: Table<(), LegKey> = Table::new(count);
    let legs: Vec<LegId> = (0..count).map(|_| ids.insert(()).expect("a place")).collect();
    let member = |(slot, (leg, letter)): (u16, (LegId, char))| {
        let name = letter.to_string();
        ctx.events.add_leg(leg, name.clone(), None, Origin::Own);
        Member { leg, name, slot, rate: 8000 }
    };
    (0u16..).zip(legs.into_iter().zip('a'..)).map(member).collect()
}

/// The events published: type, leg and room.
pub(super) fn events(ctx: &mut Context) -> Vec<String> {
    let text = |e: super::events::Event| {
        let about = [e.leg_id.clone(), e.room_id.clone()].into_iter().flatten();
        [e.kind().to_owned()].into_iter().chain(about).collect::<Vec<_>>().join(" ")
    };
    std::iter::from_fn(|| ctx.events.poll()).map(text).collect()
}

/// The work items requested, with their ids.
pub(super) fn work(ctx: &mut Context) -> Vec<(WorkId, Work)> {
    let id = |w: &Work| match w {
        Work::Locate { id, .. } | Work::Fetch { id, .. } | Work::OpenRecording { id, .. } => *id,
        Work::GiveUp(id) | Work::Merge(id, _) => *id,
        Work::KeepTrunks(_) => 0,
    };
    std::iter::from_fn(|| ctx.io.poll()).map(|w| (id(&w), w)).collect()
}
