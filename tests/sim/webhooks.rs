//! Events of calls under network faults, delivered while one of two webhook targets is down.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use branchline::base::rng::Rng;
use branchline::delivery::events::{Destination, EventQueues, Item};
use branchline::gateway::events::Event;

use crate::calls::{A, B, FOREVER, call_to, seeds, until_ringing};
use crate::net::{HARSH, Net};

/// Duration of the outage.
const OUTAGE: Duration = Duration::from_secs(3600);

fn to(node: usize) -> Destination {
    let url = if node == A { "http://dead/" } else { "http://good/" };
    Destination { url: url.into(), secret: String::new(), trusted: true }
}

/// Two consecutive calls; returns the events of both ends in order of time.
fn events(seed: u64) -> Vec<(Duration, usize, Event)> {
    let mut net = Net::new(seed, 2, HARSH, "");
    let mut out = Vec::new();
    for _ in 0..2 {
        let call = call_to("sip:bob@10.0.0.2");
        let a = net.with(A, |gw, now| gw.legs(now, |l| l.originate(call))).unwrap().id;
        let known = net.legs(B).len();
        until_ringing(&mut net).unwrap();
        let t = net.elapsed();
        net.run(net.at(t + 20_000));
        for b in net.legs(B).iter().skip(known.saturating_sub(1)) {
            // The first call's leg is gone when the second comes.
            let _gone = net.with(B, |gw, now| gw.legs(now, |l| l.answer(b)));
        }
        net.run(net.at(t + 60_000));
        net.with(A, |gw, now| gw.legs(now, |l| l.hang_up(&a, None))).unwrap();
        net.run(net.at(t + FOREVER));
    }
    net.check_end(&format!("seed {seed}"));
    for node in [A, B] {
        out.extend(net.nodes[node].events.drain(..).map(|e| (e.at.0, node, e)));
    }
    out.sort_by_key(|(at, _, _)| *at);
    out
}

#[test]
fn a_target_that_was_down_gets_all_events_later_in_order() {
    for seed in 0..seeds() {
        let events = events(seed);
        let (first, count) = (events[0].0, events.len());
        let mut queues = EventQueues::new(Rng::from_number(seed));
        let start = Instant::now();
        let mut now = start;
        let mut coming = events.into_iter().peekable();
        let mut due: BTreeMap<String, (usize, Instant, Event)> = BTreeMap::new();
        let mut got: BTreeMap<(usize, String), Vec<u64>> = BTreeMap::new();
        let mut delivered = 0;
        let mut row = 0;
        while delivered < count {
            while let Some((_, node, e)) = coming.next_if(|(at, _, _)| start + (*at - first) <= now) {
                row += 1;
                let item = Item {
                    row,
                    leg: e.leg_id.as_deref().map(Arc::from),
                    event_id: e.event_id.clone(),
                    body: Arc::from(*b"{}"),
                    terminal: e.is_terminal(),
                    origin: branchline::delivery::share::Origin::Own,
                    stored: false,
                };
                queues.push(&to(node), item);
                due.insert(e.event_id.clone(), (node, now, e));
            }
            while let Some(job) = queues.poll(now) {
                let (node, since, event) = &due[&job.item.event_id];
                let up = *node == B || now >= start + OUTAGE;
                let told = if up { Ok(()) } else { Err("down".to_owned().into()) };
                queues.handle_outcome(now, job.target, job.item.row, told);
                if up {
                    delivered += 1;
                    assert!(
                        *node == A || now == *since,
                        "seed {seed}: the good target waits for the dead one"
                    );
                    let leg = event.leg_id.clone().unwrap();
                    got.entry((*node, leg)).or_default().push(event.leg_seq.unwrap());
                }
            }
            let next = coming.peek().map(|(at, _, _)| start + (*at - first));
            let wake = [next, queues.poll_timeout()].into_iter().flatten().min();
            assert!(wake.is_some() || delivered == count, "seed {seed}: nothing would ever happen again");
            now = wake.unwrap_or(now).max(now);
        }
        assert!(now >= start + OUTAGE && now < start + OUTAGE + Duration::from_secs(75), "seed {seed}");
        assert!(queues.is_empty() && queues.counts().dropped == 0, "seed {seed}");
        assert_eq!(got.len(), 4, "seed {seed}: two legs at either end");
        for ((_, leg), numbers) in got {
            assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "seed {seed}: {leg}");
        }
    }
}
