//! Event delivery queues in virtual time, with a simple in-memory outbox.

use std::sync::Arc;
use std::time::Duration;

use super::super::queue::{MAX_TAIL, WINDOW};
use super::*;
use crate::delivery::share::Origin;

/// Most events in memory per target that are not in the outbox.
const QUEUED: usize = WINDOW + MAX_TAIL;

fn told(ok: bool) -> Result<(), Failure> {
    if ok { Ok(()) } else { Err("no".to_owned().into()) }
}

#[expect(clippy::disallowed_methods, reason = "an arbitrary epoch")]
fn epoch() -> Instant {
    Instant::now()
}

fn to(url: &str) -> Destination {
    Destination { url: url.into(), secret: String::new(), trusted: true }
}

fn item(n: usize, terminal: bool) -> Item {
    let (row, body) = (n as u64 + 1, Arc::from(n.to_string().as_bytes()));
    Item { row, leg: None, event_id: n.to_string(), body, terminal, origin: Origin::Own, stored: false }
}

#[test]
fn a_dead_target_delays_nobody_and_keeps_its_order() {
    for seed in 0..300 {
        let mut rng = Rng::from_number(seed);
        let mut q = EventQueues::new(rng.fork());
        let mut now = epoch();
        for n in 0..50 {
            q.push(&to("dead"), item(n, false));
            q.push(&to("good"), item(n, false));
        }
        let end = now + Duration::from_secs(600);
        let back = now + Duration::from_secs(300);
        let (mut good, mut dead, mut tries) = (Vec::new(), Vec::new(), 0);
        while now < end && !q.is_empty() {
            while let Some(job) = q.poll(now) {
                // One try in ten fails anyway.
                let lost = rng.chance(10);
                let ok = !lost && (job.destination.url == "good" || now >= back);
                if job.destination.url == "dead" && now < back {
                    tries += 1;
                }
                if ok {
                    let list = if job.destination.url == "good" { &mut good } else { &mut dead };
                    list.push(job.item.event_id.parse::<usize>().unwrap());
                }
                q.handle_outcome(now, job.target, job.item.row, told(ok));
            }
            now = q.poll_timeout().unwrap_or(end).max(now + Duration::from_millis(1));
        }
        assert_eq!(good, (0..50).collect::<Vec<_>>(), "seed {seed}");
        assert_eq!(dead, (0..50).collect::<Vec<_>>(), "seed {seed}");
        assert!((8..=14).contains(&tries), "seed {seed}: {tries} tries in five minutes");
    }
}

#[test]
fn a_full_queue_loses_the_oldest_that_is_not_the_last_word() {
    let mut q = EventQueues::new(Rng::from_number(1));
    let now = epoch();
    q.push(&to("x"), item(0, true));
    for n in 1..=QUEUED + 5 {
        q.push(&to("x"), item(n, n % 2 == 0));
    }
    assert_eq!((q.counts().dropped, q.counts().waiting), (6, QUEUED as u64));
    let mut got = Vec::new();
    while let Some(job) = q.poll(now) {
        got.push(job.item.event_id.parse::<usize>().unwrap());
        q.handle_outcome(now, job.target, job.item.row, told(true));
    }
    assert_eq!(got[..4], [0, 2, 4, 6]);
    assert!(got.contains(&(QUEUED + 5)));
    assert!(q.is_empty() && q.poll_timeout().is_none());
}

#[test]
fn no_wake_up_is_asked_for_that_nothing_could_use() {
    let mut q = EventQueues::new(Rng::from_number(1));
    let now = epoch();
    for n in 0..5 {
        q.push(&to(&format!("http://dead{n}/")), item(n, false));
    }
    let jobs: Vec<Job> = std::iter::from_fn(|| q.poll(now)).collect();
    jobs.iter().for_each(|j| q.handle_outcome(now, j.target, j.item.row, told(false)));
    let later = now + Duration::from_secs(5);
    let hanging: Vec<Job> = std::iter::from_fn(|| q.poll(later)).collect();
    assert_eq!((hanging.len(), q.poll_timeout()), (MAX_DOUBTFUL, None));
    q.handle_outcome(later, hanging[0].target, hanging[0].item.row, told(false));
    assert!(q.poll_timeout().is_some());
}

#[test]
fn a_new_url_of_a_failed_server_is_in_doubt_too_and_a_crowd_never_shuts_others_out() {
    let mut q = EventQueues::new(Rng::from_number(1));
    let now = epoch();
    for n in 0..MAX_TARGETS + 50 {
        let leg = Destination { trusted: false, ..to(&format!("http://dead:1/{n}")) };
        q.push(&leg, item(n, false));
        if n == 0 {
            let job = q.poll(now).unwrap();
            q.handle_outcome(now, job.target, job.item.row, told(false));
        }
    }
    q.push(&to("http://good/"), item(7, false));
    Outbox::default().serve(&mut q);
    let jobs: Vec<Job> = std::iter::from_fn(|| q.poll(now)).collect();
    let dead = jobs.iter().filter(|j| j.destination.url.contains("dead")).count();
    assert_eq!((dead, jobs.len()), (MAX_DOUBTFUL, MAX_DOUBTFUL + 1));
    assert_eq!(q.counts().dropped, 51);
}

#[test]
fn what_is_under_way_is_bounded() {
    let mut q = EventQueues::new(Rng::from_number(1));
    let now = epoch();
    for n in 0..20 {
        q.push(&to(&format!("t{n}")), item(n, false));
    }
    let jobs: Vec<Job> = std::iter::from_fn(|| q.poll(now)).collect();
    assert_eq!(jobs.len(), MAX_IN_FLIGHT);
    for job in &jobs {
        q.handle_outcome(now, job.target, job.item.row, told(false));
    }
    let later = now + Duration::from_secs(5);
    let jobs: Vec<Job> = std::iter::from_fn(|| q.poll(later)).collect();
    assert_eq!(jobs.len(), MAX_IN_FLIGHT, "others first, then at most two that failed");
    let again =
        jobs.iter().filter(|j| j.destination.url.as_str() < "t8" && j.destination.url.len() == 2).count();
    assert!(again <= MAX_DOUBTFUL, "{again}");
}

/// A simulated outbox: rows by target.
#[derive(Default)]
struct Outbox(BTreeMap<u64, (Destination, Item)>);

impl Outbox {
    fn put(&mut self, to: &Destination, item: &Item) {
        self.0.insert(item.row, (to.clone(), item.clone()));
    }

    /// Answers all load requests and deletes finished rows.
    fn serve(&mut self, q: &mut EventQueues) {
        while let Some(row) = q.poll_finished() {
            self.0.remove(&row);
        }
        while let Some(load) = q.poll_load() {
            let of_it = |(to, item): &&(Destination, Item)| *to == load.destination && item.row > load.after;
            let all: Vec<Item> = self.0.values().filter(of_it).map(|(_, i)| i.clone()).collect();
            let left = all.len().saturating_sub(load.most) as u64;
            q.handle_loaded(load.target, all.into_iter().take(load.most).collect(), left);
        }
    }
}

fn stored(row: u64, leg: u64) -> Item {
    let leg = Some(Arc::from(leg.to_string().as_str()));
    Item {
        row,
        leg,
        event_id: row.to_string(),
        body: Arc::from(*b"{}"),
        terminal: false,
        origin: Origin::Own,
        stored: true,
    }
}

#[test]
fn three_days_without_a_network_lose_nothing_and_cost_nothing() {
    for seed in 0..5 {
        let mut rng = Rng::from_number(seed);
        let (mut q, mut outbox) = (EventQueues::new(rng.fork()), Outbox::default());
        let start = epoch();
        let back = start + Duration::from_secs(72 * 3600);
        let mut now = start;
        let (mut row, mut tries, mut largest) = (0u64, 0u32, 0);
        let mut got: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        let mut next_event = start;
        while now < back + Duration::from_secs(3600) && !(now > back && q.is_empty()) {
            while next_event <= now && next_event < back {
                row += 1;
                let item = stored(row, row / 7 % 5);
                outbox.put(&to("http://a/"), &item);
                q.push(&to("http://a/"), item);
                next_event += Duration::from_secs(10 + u64::from(rng.below(20)));
            }
            outbox.serve(&mut q);
            while let Some(job) = q.poll(now) {
                let ok = now >= back && !rng.chance(10);
                tries += u32::from(now < back);
                if ok {
                    got.entry(job.item.leg.unwrap().to_string()).or_default().push(job.item.row);
                }
                q.handle_outcome(now, job.target, job.item.row, told(ok));
                outbox.serve(&mut q);
            }
            largest = largest.max(q.targets.values().map(|t| t.queue.in_memory()).sum::<usize>());
            let next = [Some(next_event).filter(|e| *e < back), q.poll_timeout()].into_iter().flatten().min();
            now = next.unwrap_or(back).max(now + Duration::from_millis(1));
        }
        assert!(q.is_empty() && outbox.0.is_empty(), "seed {seed}");
        assert_eq!(got.values().map(Vec::len).sum::<usize>() as u64, row, "seed {seed}: each exactly once");
        assert!(got.values().all(|rows| rows.is_sorted()), "seed {seed}: in order for each leg");
        assert!(row > 10_000 && largest <= WINDOW, "seed {seed}: {largest} of {row} in memory");
        assert!((3600..6500).contains(&tries), "seed {seed}: {tries} tries, about one a minute");
    }
}

#[test]
fn legs_of_one_target_do_not_wait_for_each_other_but_keep_their_order() {
    let mut q = EventQueues::new(Rng::from_number(1));
    let now = epoch();
    for row in 1..=12 {
        q.push(&to("http://a/"), stored(row, row % 3));
    }
    let jobs: Vec<Job> = std::iter::from_fn(|| q.poll(now)).collect();
    assert_eq!(jobs.iter().map(|j| j.item.row).collect::<Vec<_>>(), [1, 2, 3], "one of each leg");
    q.handle_outcome(now, jobs[1].target, 2, told(true));
    assert_eq!(q.poll(now).map(|j| j.item.row), Some(5), "the next of that leg");
    assert!(q.poll(now).is_none());
    // The delivery fails: all wait, and only one is retried.
    for row in [1, 3, 5] {
        q.handle_outcome(now, jobs[0].target, row, told(false));
    }
    assert!(q.poll(now).is_none());
    let later = now + Duration::from_secs(2);
    assert_eq!(std::iter::from_fn(|| q.poll(later)).map(|j| j.item.row).collect::<Vec<_>>(), [1]);
}

#[test]
fn what_the_outbox_could_not_take_stays_in_its_place_and_is_bounded() {
    let mut q = EventQueues::new(Rng::from_number(1));
    let mut outbox = Outbox::default();
    let (now, a) = (epoch(), to("http://a/"));
    for row in 1..=2000u64 {
        let item = Item { stored: row <= 100 || row > 1900, ..stored(row, 0) };
        if item.stored {
            outbox.put(&a, &item);
        }
        q.push(&a, item);
    }
    let counts = q.counts();
    assert_eq!(
        (counts.waiting, counts.dropped),
        (1100, 900),
        "{MAX_TAIL} in memory behind 100 in the outbox"
    );
    let mut got = Vec::new();
    loop {
        outbox.serve(&mut q);
        let Some(job) = q.poll(now) else { break };
        got.push(job.item.row);
        q.handle_outcome(now, job.target, job.item.row, told(true));
    }
    let want: Vec<u64> = (1..=100).chain(1001..=2000).collect();
    assert!(got == want, "from {:?}", got.iter().zip(&want).find(|(a, b)| a != b));
    assert!(q.is_empty() && outbox.0.is_empty());
}

#[test]
fn more_targets_than_memory_holds_come_back_from_the_outbox() {
    let mut q = EventQueues::new(Rng::from_number(1));
    let mut outbox = Outbox::default();
    let mut now = epoch();
    let count = MAX_TARGETS as u64 + 300;
    let at = |n: u64| Destination { trusted: false, ..to(&format!("http://host/{n}")) };
    for row in 1..=count {
        outbox.put(&at(row), &stored(row, row));
        q.push(&at(row), stored(row, row));
    }
    let mut got = 0;
    while got < count {
        outbox.serve(&mut q);
        while let Some(job) = q.poll(now) {
            got += 1;
            q.handle_outcome(now, job.target, job.item.row, told(true));
            outbox.serve(&mut q);
        }
        if q.poll_revive() {
            let all: Vec<Destination> = outbox.0.values().map(|(to, _)| to.clone()).collect();
            all.iter().for_each(|to| q.restore(to, 1));
        }
        now += Duration::from_millis(100);
    }
    assert_eq!((got, q.counts().dropped, outbox.0.len()), (count, 0, 0));
}

#[test]
fn urls_are_shown_without_their_secrets() {
    for (url, shown) in [
        ("http://a:8080/x?token=7#y", "http://a:8080/x"),
        ("https://user:word@host/a@b", "https://host/a@b"),
        ("https://host", "https://host"),
        ("nonsense", "nonsense"),
    ] {
        assert_eq!(shown_url(url), shown);
    }
}

fn asked(wait: u64) -> Result<(), Failure> {
    Err(Failure { why: "it answered 503".to_owned(), wait: Some(Duration::from_secs(wait)) })
}

#[test]
fn a_target_is_left_alone_for_as_long_as_it_asks_and_delays_no_other() {
    let mut q = EventQueues::new(Rng::from_number(1));
    let start = epoch();
    let (busy, good) = (to("http://h/busy"), to("http://h/good"));
    (0..3).for_each(|n| q.push(&busy, Item { leg: Some(n.to_string().as_str().into()), ..item(n, false) }));
    let flying: Vec<Job> = std::iter::from_fn(|| q.poll(start)).collect();
    assert_eq!(flying.len(), 3);
    let [first, second, third] = &flying[..] else { panic!() };
    // The second asks for a shorter wait, the third succeeds: the longest wait applies.
    q.handle_outcome(start, first.target, first.item.row, asked(300));
    q.handle_outcome(start, second.target, second.item.row, asked(5));
    q.handle_outcome(start, third.target, third.item.row, Ok(()));
    let at = |secs: u64| start + Duration::from_secs(secs);
    assert_eq!((q.poll(at(299)), q.poll_timeout()), (None, Some(at(300))));
    assert_eq!(q.view()[0].next_try, Some(at(300)));
    // Another target of the same server is not affected.
    q.push(&good, item(9, false));
    let job = q.poll(at(100)).unwrap();
    assert_eq!(job.destination, good);
    q.handle_outcome(at(100), job.target, job.item.row, Ok(()));
    let again: Vec<Job> = std::iter::from_fn(|| q.poll(at(300))).collect();
    assert_eq!(again.len(), 2);
    // Delivered at last: the next one goes out at once.
    again.iter().for_each(|j| q.handle_outcome(at(301), j.target, j.item.row, Ok(())));
    q.push(&busy, item(10, false));
    assert!(q.poll(at(301)).is_some());
}

#[test]
fn a_wait_is_kept_though_the_target_is_forgotten_meanwhile_and_a_short_one_shortens_no_back_off() {
    let mut q = EventQueues::new(Rng::from_number(1));
    let start = epoch();
    let at = |secs: u64| start + Duration::from_secs(secs);
    let busy = Destination { trusted: false, ..to("http://busy/") };
    q.push(&busy, item(0, false));
    let job = q.poll(start).unwrap();
    q.handle_outcome(start, job.target, job.item.row, asked(600));
    // Other targets evict it.
    for n in 1..=MAX_TARGETS {
        q.push(&Destination { trusted: false, ..to(&format!("http://h{n}/")) }, item(n, false));
    }
    assert!(q.view().iter().all(|t| t.destination != busy));
    let mut now = start;
    while let Some(job) = q.poll(now) {
        q.handle_outcome(now, job.target, job.item.row, Ok(()));
        now += Duration::from_millis(1);
    }
    q.push(&busy, Item { stored: true, ..item(2000, false) });
    q.handle_loaded(q.find(&busy).unwrap(), vec![item(2000, false)], 0);
    assert_eq!((q.poll(at(599)), q.poll_timeout()), (None, Some(at(600))));
    let mut tries = Vec::new();
    let mut now = at(600);
    while tries.len() < 8 {
        if let Some(job) = q.poll(now) {
            tries.push(now);
            q.handle_outcome(now, job.target, job.item.row, asked(1));
        }
        now = q.poll_timeout().unwrap();
    }
    let gaps: Vec<u64> = tries.windows(2).map(|w| (w[1] - w[0]).as_secs()).collect();
    assert!(gaps.iter().all(|g| *g >= 1) && gaps[6] > 40, "{gaps:?}");
}
