//! Damage of the state directory: whatever its files contain, the gateway starts, reports the damage, and
//! uses everything that can be read.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_lossless,
    clippy::too_many_lines,
    unreachable_pub,
    missing_docs,
    reason = "a test may fail loudly"
)]

#[path = "common/caller.rs"]
mod caller;
mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use branchline::base::rng::Rng;
use caller::{Caller, packet};
use common::Gateway;
use rusqlite::Connection;
use serde_json::{Value, json};

/// A webhook URL without a server.
const NOBODY: &str = "http://127.0.0.1:9/";

/// A directory deleted at the end of the test.
struct Dir(PathBuf);

impl Dir {
    fn make(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("branchline-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&dir));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn copy_to(&self, to: &Path) {
        drop(fs::remove_dir_all(to));
        let done = Command::new("cp").arg("-a").arg(&self.0).arg(to).status().unwrap();
        assert!(done.success());
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn start(state: &Path) -> Gateway {
    Gateway::start(&[("STATE_DIR", state.to_str().unwrap()), ("WEBHOOK_URL", NOBODY)])
}

/// State as left by a killed gateway: waiting events, also for a leg's own webhook, active legs, recordings
/// that are finished, running and to be uploaded, trunks. If `tidy`, everything is in the database file,
/// nothing in its log.
fn realistic(name: &str, tidy: bool) -> Dir {
    let dir = Dir::make(name);
    let mut gw = start(&dir.0);
    let trunk = |n: u16| {
        format!(r#"{{"type":"ip_ip","app_id":"a{n}","ip_ip":{{"peer_uri":"sip:127.0.0.1:{}"}}}}"#, 7000 + n)
    };
    for n in 0..5 {
        assert_eq!(gw.post("/v1/sip/trunks", &trunk(n)).status, 202, "a trunk");
    }
    for n in 0..12 {
        let call = json!({"type": "sip", "uri": "sip:x@127.0.0.1:9;transport=tcp", "webhook_secret": "s3cret",
            "webhook_url": format!("http://127.0.0.1:9/{n}")});
        assert!(gw.post("/v1/legs", &call.to_string()).status < 300);
    }
    let calls: Vec<Caller> = (0..4).map(|n| Caller::call_as(&gw, &format!("damage-{n}"))).collect();
    let bucket = json!({"storage": "s3", "s3_bucket": "bkt", "s3_endpoint": "http://127.0.0.1:9", "s3_access_key": "a",
        "s3_secret_key": "k"});
    for (n, c) in calls.iter().enumerate() {
        let body = if n == 2 { bucket.to_string() } else { String::new() };
        assert_eq!(gw.post(&format!("/v1/legs/{}/record", c.leg), &body).status, 200);
    }
    for k in 0..50 {
        calls.iter().for_each(|c| drop(c.rtp.send_to(&packet(0, k, 9, true), c.media)));
        std::thread::park_timeout(Duration::from_millis(20));
    }
    for c in &calls[1..3] {
        assert_eq!(gw.delete(&format!("/v1/legs/{}/record", c.leg)).status, 200);
    }
    assert_eq!(gw.delete(&format!("/v1/legs/{}", calls[3].leg)).status, 200);
    // Each call fails; its last event is the terminal event.
    while gw.get("/v1/legs").json().as_array().unwrap().len() > 3 {
        std::thread::park_timeout(Duration::from_millis(20));
    }
    gw.kill();
    if tidy {
        let db = Connection::open(dir.0.join("outbox.db")).unwrap();
        db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    }
    dir
}

/// Readable contents of an outbox: events by id, legs, recordings.
#[derive(Debug, Default, PartialEq, Eq)]
struct Held {
    events: BTreeMap<String, Vec<u8>>,
    legs: BTreeSet<String>,
    recordings: BTreeSet<String>,
}

/// Reads a copy row by row until SQLite returns no more.
fn held(state: &Path) -> Held {
    let copy = state.with_extension("copy");
    drop(fs::remove_dir_all(&copy));
    fs::create_dir_all(&copy).unwrap();
    for name in ["outbox.db", "outbox.db-wal"] {
        drop(fs::copy(state.join(name), copy.join(name)));
    }
    let mut held = Held::default();
    let read = |sql: &str, take: &mut dyn FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<()>| {
        let Ok(db) = Connection::open(copy.join("outbox.db")) else { return };
        let Ok(mut ask) = db.prepare(sql) else { return };
        let Ok(mut rows) = ask.query([]) else { return };
        while let Ok(Some(row)) = rows.next() {
            // Invalid rows are skipped.
            drop(take(row));
        }
    };
    let text = |r: &rusqlite::Row<'_>, at: usize| r.get::<_, String>(at);
    read(
        "SELECT event_id, body, url, secret, trusted FROM event JOIN target ON target.id = event.target",
        &mut |r| {
            let (id, body): (String, Vec<u8>) = (r.get(0)?, r.get(1)?);
            let _target: (String, String, bool) = (r.get(2)?, r.get(3)?, r.get(4)?);
            if serde_json::from_slice::<Value>(&body).is_ok_and(|b| b.is_object()) {
                held.events.insert(id, body);
            }
            Ok(())
        },
    );
    read("SELECT id FROM leg", &mut |r| {
        held.legs.insert(text(r, 0)?);
        Ok(())
    });
    read("SELECT id, file FROM recording", &mut |r| {
        text(r, 1)?;
        held.recordings.insert(text(r, 0)?);
        Ok(())
    });
    drop(fs::remove_dir_all(&copy));
    held
}

fn copies(state: &Path, of: &str) -> Vec<PathBuf> {
    let start = format!("{of}.damaged-");
    let all = fs::read_dir(state).unwrap().map(|e| e.unwrap().path());
    all.filter(|p| {
        p.file_name().unwrap().to_str().is_some_and(|n| n.starts_with(&start) && !n.ends_with("-wal"))
    })
    .collect()
}

fn health(gw: &Gateway) -> String {
    let said = gw.get("/health");
    assert_eq!(said.status, 200);
    assert_eq!(said.json()["status"], "ok");
    said.json()["state"].as_str().unwrap().to_owned()
}

fn ids(gw: &Gateway, path: &str, key: &str) -> BTreeSet<String> {
    let all = gw.get(path).json()[key].clone();
    all.as_array().unwrap().iter().map(|t| t["id"].as_str().unwrap().to_owned()).collect()
}

/// Legs whose terminal event is waiting.
fn ends(held: &Held) -> BTreeSet<String> {
    let bodies = held.events.values().map(|b| serde_json::from_slice::<Value>(b).unwrap());
    let last = bodies.filter(|b| b["type"] == "leg.disconnected");
    last.filter_map(|b| Some(b["leg_id"].as_str()?.to_owned())).collect()
}

/// Asserts that events stored before are still stored.
fn check_kept(before: &Held, state: &Path, what: &str) {
    let after = held(state);
    for (id, body) in &before.events {
        let kept = after.events.get(id).map(|b| String::from_utf8_lossy(b).into_owned());
        let wanted = String::from_utf8_lossy(body);
        assert!(kept.as_deref() == Some(&*wanted), "{what}: event {id}: {kept:?}, not {wanted}");
    }
    let missing: Vec<&String> = before.recordings.difference(&after.recordings).collect();
    assert!(missing.is_empty(), "{what}: {missing:?}");
    let untold: Vec<String> = before.legs.difference(&ends(&after)).cloned().collect();
    assert!(untold.is_empty(), "{what}: legs without an end: {untold:?}");
}

#[test]
fn rows_are_validated_one_by_one() {
    let whole = realistic("rows", true);
    let state = whole.0.with_extension("again");
    let all = held(&whole.0);
    let counts = (all.events.len(), all.legs.len(), all.recordings.len());
    assert!(counts.0 > 30 && counts.1 >= 3 && counts.2 == 4, "{counts:?}");
    let one = |table: &str| format!("WHERE rowid = (SELECT rowid FROM {table} ORDER BY rowid DESC LIMIT 1)");
    let first = |table: &str| format!("WHERE id = (SELECT MIN(id) FROM {table})");
    // The modification, and how many events, legs and recordings may be lost by it.
    let cases: Vec<(String, [usize; 3])> = vec![
        ("UPDATE leg SET seq = 'x'".to_owned(), [0; 3]),
        ("UPDATE leg SET seq = -1".to_owned(), [0; 3]),
        ("UPDATE leg SET seq = 9223372036854775807".to_owned(), [0; 3]),
        (format!("UPDATE leg SET id = CAST(X'ff6161' AS TEXT) {}", first("leg")), [0, 1, 0]),
        ("UPDATE leg SET created = X'0102'".to_owned(), [0; 3]),
        ("UPDATE leg SET answered = -1.5, url = 7".to_owned(), [0; 3]),
        ("UPDATE target SET url = CAST(X'68747470ff' AS TEXT) WHERE url LIKE '%/3'".to_owned(), [9, 0, 0]),
        ("UPDATE target SET trusted = 'y'".to_owned(), [0; 3]),
        ("UPDATE event SET body = 'x' WHERE id = 5".to_owned(), [1, 0, 0]),
        ("UPDATE event SET body = X'7b22' WHERE id = 5".to_owned(), [1, 0, 0]),
        (format!("UPDATE event SET id = 9223372036854775807 {}", one("event")), [0; 3]),
        (format!("UPDATE event SET id = -7 {}", one("event")), [0; 3]),
        ("UPDATE event SET target = 4711 WHERE id = 6".to_owned(), [1, 0, 0]),
        ("UPDATE event SET at = 'x', terminal = 7, leg = X'ff', origin = 'x'".to_owned(), [0; 3]),
        ("UPDATE event SET at = at - 4000000000".to_owned(), [0; 3]),
        ("UPDATE event SET event_id = X'ff' WHERE id = 5".to_owned(), [0; 3]),
        ("UPDATE recording SET file = CAST(X'2fff' AS TEXT)".to_owned(), [0; 3]),
        ("UPDATE recording SET channels = 99999999".to_owned(), [0; 3]),
        ("UPDATE recording SET bytes = -5, started = 'x', state = 'x', upload = '{'".to_owned(), [0; 3]),
        (format!("UPDATE recording SET id = X'ff' {}", first("recording")), [0; 3]),
        ("UPDATE meta SET value = X'ff'".to_owned(), [0; 3]),
        ("DROP TABLE recording".to_owned(), [0, 0, 4]),
        ("DROP TABLE meta".to_owned(), [0; 3]),
        ("DROP TABLE leg".to_owned(), [0, counts.1, 0]),
        ("ALTER TABLE leg DROP COLUMN secret".to_owned(), [0; 3]),
        ("ALTER TABLE event RENAME COLUMN body TO bodz".to_owned(), [0; 3]),
        ("DROP INDEX event_of_target; ALTER TABLE event DROP COLUMN origin".to_owned(), [0; 3]),
        ("PRAGMA user_version = 4".to_owned(), [0; 3]),
        ("PRAGMA user_version = 1".to_owned(), [0; 3]),
        ("PRAGMA user_version = -2147483646".to_owned(), [0; 3]),
    ];
    let lost = |all: &BTreeSet<String>, kept: &BTreeSet<String>| all.difference(kept).count();
    for (sql, allowed) in cases {
        whole.copy_to(&state);
        let db = Connection::open(state.join("outbox.db")).unwrap();
        db.execute_batch(&sql).unwrap();
        drop(db);
        let mut gw = start(&state);
        assert_eq!(health(&gw), "damaged", "{sql}");
        assert_eq!(copies(&state, "outbox.db").len(), 1, "{sql}");
        gw.kill();
        let after = held(&state);
        // Its id may only be known from the event itself.
        let of = |h: &Held| h.events.values().map(|b| String::from_utf8(b.clone()).unwrap()).collect();
        let told = ends(&after);
        let losses =
            [lost(&of(&all), &of(&after)), lost(&all.legs, &told), lost(&all.recordings, &after.recordings)];
        assert!(
            losses.iter().zip(allowed).all(|(lost, may)| *lost <= may),
            "{sql}: {losses:?} of {allowed:?}"
        );
        // The next start finds no damage in the new file.
        let gw = start(&state);
        assert_eq!(copies(&state, "outbox.db").len(), 1, "{sql}");
        drop(gw);
    }
    fs::remove_dir_all(state).unwrap();
}

#[test]
fn a_state_file_may_have_any_content_or_type() {
    let whole = realistic("anything", false);
    let state = whole.0.with_extension("again");
    let names = [
        "outbox.db",
        "outbox.db-wal",
        "outbox.db-shm",
        "trunks.json",
        "instance_id",
        "listen.json",
        "sounds",
        ".trunks.json.new",
        ".outbox.db.new",
        "recordings",
    ];
    for name in names {
        for kind in ["directory", "nonsense", "nothing"] {
            whole.copy_to(&state);
            let path = state.join(name);
            drop(fs::remove_dir_all(&path));
            drop(fs::remove_file(&path));
            match kind {
                "directory" => fs::create_dir_all(path.join("x")).unwrap(),
                "nonsense" => fs::write(&path, [0xa5; 5000]).unwrap(),
                _ => fs::write(&path, "").unwrap(),
            }
            let gw = start(&state);
            let trunk = r#"{"type":"ip_ip","ip_ip":{"peer_uri":"sip:127.0.0.1:6"}}"#;
            assert_eq!(gw.post("/v1/sip/trunks", trunk).status, 202, "{name} is {kind}");
            let c = Caller::call_as(&gw, "anyway");
            assert_eq!(gw.post(&format!("/v1/legs/{}/record", c.leg), "").status, 200, "{name} is {kind}");
            health(&gw);
            drop(gw);
        }
    }
    fs::remove_dir_all(state).unwrap();
}

#[test]
fn three_copies_of_damaged_files_are_kept_and_the_last_trunks_stay() {
    let whole = realistic("copies", false);
    let (mut trunks, state) = (None, &whole.0);
    for n in 0..5u8 {
        let text = fs::read_to_string(state.join("trunks.json")).unwrap();
        let key = text.rfind("peer_uri").unwrap();
        let damaged = format!("{}{}", &text[..key], text[key..].replacen("peer_uri", "peer_urk", 1));
        fs::write(state.join("trunks.json"), damaged).unwrap();
        fs::write(state.join("outbox.db"), vec![n; 3000]).unwrap();
        let mut gw = start(state);
        assert_eq!(health(&gw), "damaged");
        let kept = ids(&gw, "/v1/sip/trunks", "trunks");
        assert_eq!(kept.len(), 4 - usize::from(n), "one after the other");
        assert!(trunks.replace(kept.clone()).is_none_or(|all: BTreeSet<String>| kept.is_subset(&all)));
        gw.kill();
    }
    for name in ["trunks.json", "outbox.db"] {
        assert_eq!(copies(state, name).len(), 3, "{name}");
    }
}

#[test]
fn a_second_start_does_not_affect_the_first() {
    let state = Dir::make("second");
    let gw = start(&state.0);
    let list = || {
        let mut all: Vec<_> = fs::read_dir(&state.0).unwrap().map(|e| e.unwrap().path()).collect();
        all.sort();
        let content = |p: &PathBuf| fs::read(p).unwrap_or_default();
        all.iter().map(|p| (p.clone(), content(p))).collect::<Vec<_>>()
    };
    fs::write(state.0.join("sounds/playing"), "x").unwrap();
    let before = list();
    let second = |http: &str, sip: &str| {
        let out = Command::new(env!("CARGO_BIN_EXE_branchline"))
            .env_clear()
            .env("STATE_DIR", &state.0)
            .envs([("HTTP_ADDR", http), ("SIP_PORT", sip)])
            .output()
            .unwrap();
        let said = String::from_utf8(out.stderr).unwrap();
        assert_eq!((out.status.code(), said.contains("another gateway uses it")), (Some(1), true), "{said}");
        assert!(list() == before, "nothing was touched");
        assert!(state.0.join("sounds/playing").exists());
    };
    second("127.0.0.1:0", "0");
    let (http, sip) = (gw.listen["http"].as_str().unwrap(), gw.listen["sip"].as_str().unwrap());
    second(http, sip.rsplit(':').next().unwrap());
    let listed = Command::new(env!("CARGO_BIN_EXE_branchline"))
        .args(["outbox", "drop", "all"])
        .env_clear()
        .env("STATE_DIR", &state.0)
        .output()
        .unwrap();
    assert_eq!(listed.status.code(), Some(1), "{listed:?}");
    assert_eq!(health(&gw), "ok");
}

/// Flipped bits per file; `make soak` uses more.
fn flips() -> u32 {
    std::env::var("DAMAGE_FLIPS").ok().and_then(|s| s.parse().ok()).unwrap_or(50)
}

#[test]
fn a_flipped_bit_only_affects_what_it_hit() {
    let mut rng = Rng::from_number(16);
    for tidy in [true, false] {
        let whole = realistic(if tidy { "bits" } else { "bits-wal" }, tidy);
        let state = whole.0.with_extension("again");
        let probe = start(&{
            whole.copy_to(&state);
            state.clone()
        });
        let trunks = ids(&probe, "/v1/sip/trunks", "trunks");
        assert_eq!(trunks.len(), 5);
        drop(probe);
        let names: &[&str] = if tidy {
            &["outbox.db", "trunks.json", "instance_id", "listen.json"]
        } else {
            &["outbox.db-wal"]
        };
        for name in names {
            let bytes = fs::read(whole.0.join(name)).unwrap();
            let mut noticed = 0;
            for n in 0..flips() {
                let at = rng.below(u32::try_from(bytes.len()).unwrap()) as usize;
                let bit = 1u8 << rng.below(8);
                let what = format!("{name}: flip {n}, byte {at}, bit {bit:#x}");
                whole.copy_to(&state);
                let mut flipped = bytes.clone();
                flipped[at] ^= bit;
                fs::write(state.join(name), flipped).unwrap();
                let before = held(&state);
                let mut gw = start(&state);
                noticed += u32::from(health(&gw) == "damaged");
                let kept = ids(&gw, "/v1/sip/trunks", "trunks");
                let missing = trunks.difference(&kept).count();
                assert!(
                    missing <= usize::from(*name == "trunks.json"),
                    "{what}: {missing} trunks are missing"
                );
                gw.kill();
                check_kept(&before, &state, &what);
            }
            println!("{name}: {} bytes, {} flips, {noticed} noticed", bytes.len(), flips());
        }
        fs::remove_dir_all(state).unwrap();
    }
}
