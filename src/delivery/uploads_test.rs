//! Upload queues in virtual time, with a simple in-memory outbox.

use super::*;

#[expect(clippy::disallowed_methods, reason = "an arbitrary epoch")]
fn epoch() -> Instant {
    Instant::now()
}

fn place(bucket: &str) -> Arc<Place> {
    Arc::new(Place {
        bucket: bucket.to_owned(),
        region: "us-east-1".to_owned(),
        endpoint: String::new(),
        prefix: String::new(),
        keys: None,
        trusted: true,
    })
}

/// Contents of the outbox, and how often each upload was tried and finished.
#[derive(Default)]
struct World {
    waiting: BTreeMap<Arc<Place>, Vec<String>>,
    tries: BTreeMap<String, u64>,
    done: BTreeMap<String, u64>,
}

impl World {
    fn add(&mut self, q: &mut Uploads, to: &Arc<Place>, id: String) {
        self.waiting.entry(Arc::clone(to)).or_default().push(id.clone());
        q.push(to, id);
    }

    /// Answers load requests and starts the uploads that are due.
    fn step(&mut self, q: &mut Uploads, now: Instant) -> Vec<Job> {
        if q.poll_revive() {
            let places: Vec<_> =
                self.waiting.iter().filter(|(_, w)| !w.is_empty()).map(|(p, _)| Arc::clone(p)).collect();
            places.iter().for_each(|p| q.restore(p));
        }
        while let Some(load) = q.poll_load() {
            let ids = self.waiting.get(&load.place).cloned().unwrap_or_default();
            q.handle_loaded(load.place_id, ids.into_iter().take(load.most).collect(), load.most);
        }
        let jobs = std::iter::from_fn(|| q.poll(now)).collect();
        // The announced time of the next poll is in the future.
        assert!(q.poll_timeout(now).is_none_or(|at| at > now));
        jobs
    }

    fn end(&mut self, q: &mut Uploads, now: Instant, job: &Job, ok: bool) {
        *self.tries.entry(job.place.bucket.clone()).or_default() += 1;
        if ok {
            *self.done.entry(job.id.clone()).or_default() += 1;
            self.waiting.get_mut(&job.place).unwrap().retain(|id| *id != job.id);
            q.handle_done(job.place_id, &job.id, true);
        } else {
            q.handle_failed(now, job.place_id, &job.id, "it is dead".to_owned().into());
        }
    }
}

#[test]
fn a_place_that_is_dead_for_three_days_delays_nobody_costs_little_and_loses_nothing() {
    for seed in 0..20 {
        let mut rng = Rng::from_number(seed);
        let mut q = Uploads::new(rng.fork());
        let (dead, good) = (place("dead"), place("good"));
        let start = epoch();
        let (outage, end) = (Duration::from_secs(72 * 3600), Duration::from_secs(80 * 3600));
        let mut world = World::default();
        let mut flying: Vec<(Duration, Job)> = Vec::new();
        let (mut at, mut next_call, mut calls) = (Duration::ZERO, Duration::ZERO, 0);
        let mut behind = 0;
        while at < end {
            if at >= next_call && at < outage {
                for p in [&dead, &good] {
                    world.add(&mut q, p, format!("{} {calls}", p.bucket));
                }
                calls += 1;
                next_call += Duration::from_secs(60 + u64::from(rng.below(240)));
            }
            let now = start + at;
            let (over, still): (Vec<_>, Vec<_>) = flying.into_iter().partition(|(t, _)| *t <= at);
            flying = still;
            over.iter().for_each(|(_, job)| world.end(&mut q, now, job, *job.place != *dead || at >= outage));
            for job in world.step(&mut q, now) {
                // An unreachable server takes 30 s to fail.
                let takes = if *job.place == *dead && at < outage { 30 } else { 2 + u64::from(rng.below(5)) };
                flying.push((at + Duration::from_secs(takes), job));
            }
            assert!(flying.iter().filter(|(_, j)| *j.place == *dead).count() <= MAX_OF_PLACE);
            assert!(q.in_memory().1 <= 2 * WINDOW);
            behind = behind.max(world.waiting[&good].len());
            let next = flying.iter().map(|(t, _)| *t).chain([next_call]);
            let timer = q.poll_timeout(now).map(|t| t.saturating_duration_since(start));
            at = next.chain(timer).filter(|t| *t > at).min().unwrap_or(end);
        }
        assert!(behind <= 2, "the good place never waits: {behind}");
        assert_eq!(world.done.len(), 2 * calls, "all of them arrive");
        assert!(world.done.values().all(|n| *n == 1), "and each once");
        let tries = world.tries["dead"] - calls as u64;
        // About one try per ten minutes (± 20 %).
        assert!((72 * 5..72 * 8).contains(&tries), "{tries}");
        assert_eq!((q.in_memory(), q.counts().done), ((0, 0), 2 * calls as u64));
    }
}

#[test]
fn places_take_turns_and_those_without_room_come_later() {
    let mut q = Uploads::new(Rng::from_number(1));
    let mut world = World::default();
    let now = epoch();
    for n in 0..200 {
        for k in 0..3 {
            world.add(&mut q, &place(&format!("p{n}")), format!("{n} {k}"));
        }
    }
    assert_eq!(q.in_memory().0, MAX_PLACES);
    let first = world.step(&mut q, now);
    let buckets: Vec<&str> = first.iter().map(|j| &*j.place.bucket).collect();
    assert_eq!(buckets, ["p0", "p1", "p2"], "one of each; not all places for those that are not known");
    let mut flying = first;
    while let Some(job) = flying.pop() {
        world.end(&mut q, now, &job, true);
        flying.extend(world.step(&mut q, now));
    }
    assert_eq!(world.done.len(), 600);
    assert_eq!(q.in_memory(), (0, 0));
}

#[test]
fn one_that_fails_lets_the_others_of_its_place_go_first() {
    let mut q = Uploads::new(Rng::from_number(1));
    let mut world = World::default();
    let (to, start) = (place("p"), epoch());
    (0..100).for_each(|n| world.add(&mut q, &to, format!("{n:03}")));
    let mut now = start;
    while !world.waiting[&to].iter().eq(["000"].iter()) {
        let jobs = world.step(&mut q, now);
        assert!(!jobs.is_empty() || q.poll_timeout(now).is_some());
        jobs.iter().for_each(|j| world.end(&mut q, now, j, j.id != "000"));
        now = q.poll_timeout(now).map_or(now, |t| t.max(now));
    }
    assert!(now - start < Duration::from_secs(60), "{:?}", now - start);
    assert_eq!(q.view(&to).last_error.as_deref(), Some("it is dead"));
    // A deleted recording is not retried; the one in flight is reported without harm.
    q.forget(&to, "000");
    world.waiting.clear();
    assert!(world.step(&mut q, now + LONGEST * 2).is_empty());
    assert_eq!(q.in_memory(), (0, 0));
    q.handle_done(1, "000", false);
    assert_eq!(q.view(&to), View::default());
}

#[test]
fn dead_places_without_number_leave_room_for_one_that_is_well() {
    let mut q = Uploads::new(Rng::from_number(1));
    let mut world = World::default();
    let start = epoch();
    let mut now = start;
    let good = place("good");
    world.add(&mut q, &good, "g".to_owned());
    world.step(&mut q, now).iter().for_each(|job| world.end(&mut q, now, job, true));
    for n in 0..3 * MAX_PLACES {
        world.add(&mut q, &place(&format!("dead{n}")), format!("d{n}"));
    }
    let mut flying: Vec<(Instant, Job)> = Vec::new();
    for step in 0..600u64 {
        if step % 20 == 10 {
            world.add(&mut q, &good, format!("g{step}"));
        }
        if step % 100 == 0 {
            // The periodic revival.
            let waiting: Vec<_> = world.waiting.keys().cloned().collect();
            waiting.iter().for_each(|p| q.restore(p));
        }
        let (over, still): (Vec<_>, Vec<_>) = flying.into_iter().partition(|(at, _)| *at <= now);
        flying = still;
        over.iter().for_each(|(_, job)| world.end(&mut q, now, job, *job.place == *good));
        for job in world.step(&mut q, now) {
            let takes = if *job.place == *good { 2 } else { 120 };
            flying.push((now + Duration::from_secs(takes), job));
        }
        assert!(q.in_memory().0 <= MAX_PLACES && flying.len() <= MAX_IN_FLIGHT);
        now += Duration::from_secs(1);
    }
    let waits = world.waiting[&good].len();
    assert!(world.done.len() >= 28 && waits <= 1, "{} done, {waits} wait", world.done.len());
    let tried = world.tries.keys().filter(|b| b.starts_with("dead")).count();
    assert!(tried >= 12, "and the others have their turns: {tried}");
}

#[test]
fn what_is_its_own_fault_holds_up_no_other() {
    let mut q = Uploads::new(Rng::from_number(1));
    let mut world = World::default();
    let (to, start) = (place("p"), epoch());
    (0..200).for_each(|n| world.add(&mut q, &to, format!("{n:03}")));
    let (mut now, wait) = (start, Duration::from_secs(600));
    // The first hundred cannot be read.
    for _ in 0..400 {
        for job in world.step(&mut q, now) {
            if job.id.as_str() < "100" {
                q.handle_put_off(now, job.place_id, &job.id, wait);
            } else {
                world.end(&mut q, now, &job, true);
            }
        }
    }
    assert_eq!((world.done.len(), q.view(&to).failures), (100, 0));
    assert_eq!(q.poll_timeout(now), Some(start + wait));
    now += wait;
    for _ in 0..100 {
        world.step(&mut q, now).iter().for_each(|job| world.end(&mut q, now, job, true));
    }
    assert_eq!((world.done.len(), q.in_memory()), (200, (0, 0)));
}

#[test]
fn a_place_is_left_alone_for_as_long_as_it_asks() {
    let mut q = Uploads::new(Rng::from_number(1));
    let mut world = World::default();
    let (busy, good, start) = (place("busy"), place("good"), epoch());
    let at = |secs: u64| start + Duration::from_secs(secs);
    let slow_down =
        |wait: u64| Failure { why: "503 SlowDown".to_owned(), wait: Some(Duration::from_secs(wait)) };
    (0..4).for_each(|n| world.add(&mut q, &busy, format!("{n}")));
    let jobs = world.step(&mut q, start);
    let [first, second] = &jobs[..] else { panic!("{jobs:?}") };
    // Of two in flight one is rejected, the other succeeds: the wait applies.
    q.handle_failed(start, first.place_id, &first.id, slow_down(120));
    world.end(&mut q, start, second, true);
    assert_eq!(q.view(&busy).next_try, Some(at(120)));
    world.add(&mut q, &good, "g".to_owned());
    let other = world.step(&mut q, at(60));
    assert_eq!(other.iter().map(|j| j.id.as_str()).collect::<Vec<_>>(), ["g"], "others go on");
    world.end(&mut q, at(60), &other[0], true);
    assert_eq!(q.poll_timeout(at(119)), Some(at(120)));
    assert!(world.step(&mut q, at(119)).is_empty());
    let jobs = world.step(&mut q, at(120));
    assert!(!jobs.is_empty());
    // Its recordings are deleted: the wait is still applied to the next one.
    for j in &jobs {
        q.handle_failed(at(120), j.place_id, &j.id, slow_down(600));
    }
    (0..4).for_each(|n| q.forget(&busy, &n.to_string()));
    world.waiting.clear();
    assert_eq!(q.in_memory(), (0, 0));
    world.add(&mut q, &busy, "next".to_owned());
    assert!(world.step(&mut q, at(719)).is_empty());
    assert_eq!(world.step(&mut q, at(720)).len(), 1);
}

#[test]
fn a_short_wait_shortens_no_back_off() {
    let mut q = Uploads::new(Rng::from_number(1));
    let mut world = World::default();
    let to = place("p");
    world.add(&mut q, &to, "r".to_owned());
    let mut now = epoch();
    let mut tries = Vec::new();
    while tries.len() < 12 {
        for job in world.step(&mut q, now) {
            tries.push(now);
            let wait = Some(Duration::from_secs(3));
            q.handle_failed(now, job.place_id, &job.id, Failure { why: "429".to_owned(), wait });
        }
        now = q.poll_timeout(now).unwrap();
    }
    let gaps: Vec<u64> = tries.windows(2).map(|w| (w[1] - w[0]).as_secs()).collect();
    assert!(gaps.iter().all(|g| *g >= 3) && gaps[10] >= 480, "{gaps:?}");
}
