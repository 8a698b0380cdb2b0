//! Uploads to a server that verifies signatures, over bad lines and through crashes, without loss.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use branchline::base::rng::Rng;
use branchline::config::{Place, S3};
use branchline::io::outbox::judge::Known;
use branchline::io::outbox::rows::{Op, RecordingRow, UPLOADING, base_name};
use branchline::io::outbox::store::Store;
use serde_json::{Value, json};

use crate::caller::{Caller, packet};
use crate::common::{Gateway, Reply};
use crate::hook::Hook;
use crate::phone::{Lines, python, script};

/// The server, its line, and a key pair.
struct Bucket {
    lines: Lines,
    url: String,
    access_key: String,
    secret_key: String,
}

impl Bucket {
    fn start(buckets: &[&str]) -> Self {
        let lines = Lines::start(Command::new(python()).arg(script("tests/peers/bucket.py")).args(buckets));
        let ready = lines.json("what", "ready", 60);
        let text = |key: &str| ready[key].as_str().unwrap().to_owned();
        Self { url: text("url"), access_key: text("access_key"), secret_key: text("secret_key"), lines }
    }

    fn order(&mut self, order: &str) -> Value {
        self.lines.say(order);
        self.lines.json("what", order.split(' ').next().unwrap(), 60)
    }

    /// Objects: key, size, SHA-256; and number of incomplete multipart uploads.
    fn list(&mut self, bucket: &str) -> (Vec<Value>, u64) {
        let list = self.order(&format!("list {bucket}"));
        (list["objects"].as_array().unwrap().clone(), list["open"].as_u64().unwrap())
    }

    fn environment<'a>(&'a self, dir: &'a Path, hook: &'a Hook) -> Vec<(&'static str, &'a str)> {
        vec![
            ("STATE_DIR", dir.to_str().unwrap()),
            ("WEBHOOK_URL", &hook.url),
            ("S3_BUCKET", "branch"),
            ("S3_ENDPOINT", &self.url),
            ("S3_PREFIX", "calls/"),
            ("AWS_ACCESS_KEY_ID", &self.access_key),
            ("AWS_SECRET_ACCESS_KEY", &self.secret_key),
        ]
    }
}

/// A directory that is deleted with the test.
struct Dir(PathBuf);

impl Dir {
    fn make(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("branchline-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn talk(callers: &[&Caller], from: u16, packets: u16) {
    for n in from..from + packets {
        callers.iter().for_each(|c| drop(c.rtp.send_to(&packet(0, n, 9, true), c.media)));
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn file_of(reply: &Reply) -> String {
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()["file"].as_str().unwrap().to_owned()
}

fn sha256(file: &Path) -> String {
    let out = Command::new("sha256sum").arg(file).output().unwrap();
    String::from_utf8(out.stdout).unwrap()[..64].to_owned()
}

/// Records two seconds with this body; the local file, and the final location.
fn record(gw: &Gateway, c: &Caller, body: &Value) -> (String, String) {
    let at = format!("/v1/legs/{}/record", c.leg);
    let begun = file_of(&gw.post(&at, &body.to_string()));
    talk(&[c], 0, 100);
    (begun, file_of(&gw.delete(&at)))
}

/// The upload failure reported by the gateway.
fn failure(gw: &Gateway, file: &str) -> String {
    let at = format!("/v1/recordings/{}", base_name(file));
    for _ in 0..100 {
        let shown = gw.get(&at).json();
        if let Some(error) = shown["upload"]["last_error"].as_str() {
            assert_eq!(shown["state"], "uploading", "{shown}");
            assert!(Path::new(file).exists(), "what is not uploaded stays");
            return error.to_owned();
        }
        std::thread::park_timeout(Duration::from_millis(100));
    }
    panic!("{}", gw.get(&at).json());
}

#[test]
fn recordings_are_uploaded_and_deleted_locally() {
    let mut bucket = Bucket::start(&["branch", "second"]);
    let (dir, hook) = (Dir::make("bucket"), Hook::start());
    let gw = Gateway::start_release_configured("[s3]\nwait_s = 4\n", &bucket.environment(&dir.0, &hook));
    let c = Caller::call_as(&gw, "bucket");
    let (local, there) = record(&gw, &c, &json!({"storage": "s3"}));
    let id = base_name(&local);
    assert_eq!(there, format!("s3://branch/calls/{id}"));
    hook.wait("recording.uploaded", 10, |events| events.iter().any(|e| e["type"] == "recording.uploaded"));
    let events = hook.events();
    let at = |kind: &str| events.iter().position(|e| e["type"] == kind).unwrap();
    let (finished, uploaded) = (&events[at("recording.finished")], &events[at("recording.uploaded")]);
    assert!(at("recording.finished") < at("recording.uploaded"));
    assert_eq!((&finished["file"], &uploaded["file"]), (&json!(local), &json!(there)));
    assert_eq!((&uploaded["local_file"], &uploaded["leg_id"]), (&json!(local), &json!(c.leg)));
    assert!(!Path::new(&local).exists(), "it is not here any more");
    let copy = dir.0.join("copy.wav");
    bucket.order(&format!("get branch calls/{id} {}", copy.display()));
    let wav = hound::WavReader::open(&copy).unwrap();
    let ms = u64::from(wav.duration()) / 8;
    assert_eq!(finished["duration_ms"].as_u64().unwrap(), ms);
    let left: Vec<i16> = wav.into_samples::<i16>().map(Result::unwrap).step_by(2).collect();
    assert!(left.iter().filter(|s| s.abs() > 100).count() > 8000, "what was said is in it");
    let shown = gw.get(&format!("/v1/recordings/{id}")).json();
    assert_eq!((&shown["state"], &shown["upload"]["location"]), (&json!("uploaded"), &json!(there)));
    let gone = gw.get(&format!("/v1/recordings/{id}/file"));
    assert!(gone.status == 404 && gone.error().contains(&there), "{gone:?}");

    // Each field of the request overrides its setting.
    let own = json!({"storage": "s3", "s3_bucket": "second", "s3_prefix": "zürich/a b+",
        "s3_access_key": bucket.access_key, "s3_secret_key": bucket.secret_key, "s3_region": "eu-west-1"});
    let (local, there) = record(&gw, &c, &own);
    assert_eq!(there, format!("s3://second/zürich/a b+{}", base_name(&local)));
    assert_eq!(bucket.list("second").0[0]["key"], json!(format!("zürich/a b+{}", base_name(&local))));

    // Impossible requests are reported, and the recording is kept.
    let not_s3 = format!("http://{}", gw.http());
    let keys =
        |secret: &str| json!({"storage": "s3", "s3_access_key": bucket.access_key, "s3_secret_key": secret});
    let at = |server: &str| json!({"storage": "s3", "s3_endpoint": server, "s3_access_key": "a", "s3_secret_key": "k"});
    for (body, says) in [
        (keys("wrong"), "403 SignatureDoesNotMatch"),
        (json!({"storage": "s3", "s3_bucket": "absent"}), "404 NoSuchBucket"),
        (at(&not_s3), "and something that is not of S3"),
        (at("http://127.0.0.1:9"), "refused"),
    ] {
        let at = format!("/v1/legs/{}/record", c.leg);
        let begun = file_of(&gw.post(&at, &body.to_string()));
        talk(&[&c], 0, 10);
        // No API call waits: the end of the call ends the recording.
        let (local, error) = {
            let stopping = std::thread::scope(|s| {
                let stop = s.spawn(|| gw.delete(&at));
                let error = failure(&gw, &begun);
                assert_eq!(
                    file_of(&stop.join().unwrap()),
                    begun,
                    "the local path, when the upload takes too long"
                );
                error
            });
            (begun, stopping)
        };
        assert!(error.contains(says), "{body}: {error}");
        let at = format!("/v1/recordings/{}", base_name(&local));
        assert_eq!(gw.delete(&at).json()["status"], "deleted");
        assert_eq!((gw.get(&at).status, Path::new(&local).exists()), (404, false));
    }
    for (field, value) in [
        ("s3_secret_key", "S".to_owned()),
        ("s3_bucket", "..".to_owned()),
        ("s3_bucket", "x".repeat(2000)),
        ("s3_region", "eu west".to_owned()),
        ("s3_prefix", "a/../b".to_owned()),
        ("s3_prefix", "a\0b".to_owned()),
        ("s3_prefix", "x".repeat(2000)),
        ("s3_endpoint", "file:///etc/passwd".to_owned()),
        ("s3_endpoint", "http://192.0.2.1".to_owned()),
        ("s3_endpoint", "http://169.254.169.254".to_owned()),
    ] {
        let refused = gw
            .post(&format!("/v1/legs/{}/record", c.leg), &json!({"storage": "s3", field: value}).to_string());
        assert!(refused.status == 400 && refused.error().contains(&field[..3]), "{field}: {refused:?}");
    }
    let figures = String::from_utf8(gw.get("/metrics").body).unwrap();
    assert!(figures.contains("branchline_uploads_total{outcome=\"success\"} 2\n"), "{figures}");
    assert!(gw.get("/v1/legs").json().as_array().unwrap().len() == 1, "the call goes on");
}

#[test]
fn buckets_may_be_named_by_host() {
    let mut bucket = Bucket::start(&["branch"]);
    let (dir, hook) = (Dir::make("bucket-host"), Hook::start());
    // The server is unknown without a bucket in its host name: path-style requests fail.
    let hosts = dir.0.join("hosts");
    std::fs::write(&hosts, "127.0.0.1 localhost branch.s3.test\n127.0.0.9 second.s3.test\n").unwrap();
    let endpoint = bucket.url.replace("127.0.0.1", "s3.test");
    let mut env = bucket.environment(&dir.0, &hook);
    env.retain(|(name, _)| *name != "S3_ENDPOINT");
    env.push(("S3_ENDPOINT", &endpoint));
    let gw = Gateway::start_release_naming(&hosts, "[s3]\nstyle = \"virtual\"\nwait_s = 8\n", &env);
    let c = Caller::call_as(&gw, "host");
    let (local, there) = record(&gw, &c, &json!({"storage": "s3"}));
    let key = format!("calls/{}", base_name(&local));
    assert_eq!(there, format!("s3://branch/{key}"));
    // Another bucket is another host, which does not exist.
    let other = json!({"storage": "s3", "s3_bucket": "second"});
    let at = format!("/v1/legs/{}/record", c.leg);
    let begun = file_of(&gw.post(&at, &other.to_string()));
    talk(&[&c], 0, 10);
    let error = std::thread::scope(|s| {
        let stop = s.spawn(|| gw.delete(&at));
        let error = failure(&gw, &begun);
        assert_eq!(file_of(&stop.join().unwrap()), begun);
        error
    });
    assert!(error.contains("refused"), "{error}");
    drop(gw);
    let (objects, open) = bucket.list("branch");
    assert_eq!((objects.len(), &objects[0]["key"], open), (1, &json!(key), 0));
}

#[test]
fn what_waits_for_its_upload_survives_crashes_and_bad_lines() {
    let mut bucket = Bucket::start(&["branch"]);
    let (dir, hook, mut rng) = (Dir::make("bucket-crash"), Hook::start(), Rng::from_number(11));
    let kept = dir.0.join("kept");
    std::fs::create_dir_all(&kept).unwrap();
    let mut wanted: BTreeMap<String, String> = BTreeMap::new();
    // In addition to uploaded recordings, calls whose recordings are kept locally.
    let mut staying: Vec<String> = Vec::new();
    let env_of = |b: &Bucket| {
        b.environment(&dir.0, &hook).iter().map(|(k, v)| (*k, (*v).to_owned())).collect::<Vec<_>>()
    };
    let rounds = std::env::var("CRASH_ROUNDS").ok().and_then(|s| s.parse().ok()).unwrap_or(10);
    for round in 0..rounds {
        let how = ["reset", "fail", "cut", "stall", "slow"][round % 5];
        bucket.order(&format!("line {how}"));
        let env = env_of(&bucket);
        let env: Vec<(&str, &str)> = env.iter().map(|(k, v)| (*k, v.as_str())).collect();
        let mut gw = Gateway::start_release_configured("[s3]\nwait_s = 0\n", &env);
        let callers: Vec<Caller> = (0..20).map(|n| Caller::call_as(&gw, &format!("{round}-{n}"))).collect();
        let mut files = Vec::new();
        let (to_bucket, here) = callers.split_at(2);
        for c in here {
            staying.push(file_of(&gw.post(&format!("/v1/legs/{}/record", c.leg), "{}")));
        }
        for c in to_bucket {
            let file = file_of(&gw.post(&format!("/v1/legs/{}/record", c.leg), r#"{"storage":"s3"}"#));
            // A hard link to the file: its contents after upload, whenever the gateway deletes its own.
            std::fs::hard_link(&file, kept.join(base_name(&file))).unwrap();
            files.push(file);
        }
        talk(&callers.iter().collect::<Vec<_>>(), 0, 60);
        // One upload is running; another recording is interrupted by the crash.
        assert_eq!(gw.delete(&format!("/v1/legs/{}/record", callers[0].leg)).status, 200);
        std::thread::park_timeout(Duration::from_millis(u64::from(rng.below(400))));
        gw.kill();
        wanted.extend(files.iter().map(|f| (base_name(f), String::new())));
    }
    bucket.order("line pass");
    let env = env_of(&bucket);
    let env: Vec<(&str, &str)> = env.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let gw = Gateway::start_release_configured("[s3]\nwait_s = 0\n", &env);
    hook.wait("end of all uploads", 120, |events| {
        let done = events.iter().filter(|e| e["type"] == "recording.uploaded");
        done.map(|e| e["local_file"].as_str().unwrap()).collect::<std::collections::BTreeSet<_>>().len()
            == wanted.len()
    });
    for (name, digest) in &mut wanted {
        *digest = sha256(&kept.join(name));
    }
    let (objects, open) = bucket.list("branch");
    let there: BTreeMap<String, String> = objects
        .iter()
        .map(|o| {
            let text = |key: &str| o[key].as_str().unwrap().to_owned();
            (text("key").strip_prefix("calls/").unwrap().to_owned(), text("sha256"))
        })
        .collect();
    assert_eq!((&there, open), (&wanted, 0), "every object is there once, whole");
    let left = std::fs::read_dir(dir.0.join("recordings")).unwrap().count();
    assert_eq!(left, staying.len(), "and of these none is here any more");
    for file in &staying {
        let out = Command::new("soxi").arg("-D").arg(file).output().unwrap();
        let seconds: f64 = String::from_utf8(out.stdout).unwrap().trim().parse().unwrap();
        assert!((0.1..3.0).contains(&seconds), "{file}: {seconds} s");
    }
    let events = hook.events();
    for name in wanted.keys() {
        let of = |kind: &str, key: &str| {
            let ids =
                events.iter().filter(|e| e["type"] == kind && base_name(e[key].as_str().unwrap()) == *name);
            ids.map(|e| e["event_id"].as_str().unwrap()).collect::<std::collections::BTreeSet<_>>().len()
        };
        assert_eq!(
            (of("recording.finished", "file"), of("recording.uploaded", "local_file")),
            (1, 1),
            "{name}"
        );
    }
    for file in &staying {
        let ends = events.iter().filter(|e| e["type"] == "recording.finished" && e["file"] == **file);
        let ids: std::collections::BTreeSet<_> = ends.map(|e| e["event_id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), 1, "{file}");
    }
    let listed = gw.get("/v1/recordings").json();
    let states: Vec<&Value> = listed["recordings"].as_array().unwrap().iter().map(|r| &r["state"]).collect();
    let uploaded = states.iter().filter(|s| ***s == "uploaded").count();
    // The list contains the latest thousand, a tenth of them uploaded.
    let shown = (wanted.len() + staying.len()).min(1000);
    assert_eq!((states.len(), uploaded), (shown, shown / 10), "{states:?}");
}

#[test]
fn multipart_uploads_continue_after_a_restart() {
    let mut bucket = Bucket::start(&["branch"]);
    let (dir, hook) = (Dir::make("bucket-parts"), Hook::start());
    // Recorded in an earlier run: slightly more than 20 MiB.
    let recordings = dir.0.join("recordings");
    std::fs::create_dir_all(&recordings).unwrap();
    let file = recordings.join("20261125_120000_0badcafe.wav");
    let spec = hound::WavSpec {
        channels: 2,
        sample_rate: 48_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut wav = hound::WavWriter::create(&file, spec).unwrap();
    let mut rng = Rng::from_number(5);
    (0..10_600_000u32).for_each(|_| wav.write_sample(rng.u32() as i16).unwrap());
    wav.finalize().unwrap();
    let digest = sha256(&file);
    let settings = S3 { bucket: "branch".to_owned(), endpoint: bucket.url.clone(), ..S3::default() };
    let place: Place = settings.place(&branchline::config::s3::UploadRequest::default()).unwrap();
    let mut store = Store::open(&dir.0, Known::default()).unwrap();
    let row = RecordingRow {
        id: base_name(file.to_str().unwrap()),
        file: file.display().to_string(),
        state: UPLOADING.to_owned(),
        bytes: std::fs::metadata(&file).unwrap().len(),
        started_ms: 1,
        upload: Some(Arc::new(place)),
        ..RecordingRow::default()
    };
    store.apply(&[Op::Recording(Box::new(row))]).unwrap();
    drop(store);
    bucket.order("line slow");
    let env = bucket.environment(&dir.0, &hook);
    let env: Vec<(&str, String)> = env.iter().map(|(k, v)| (*k, (*v).to_owned())).collect();
    let env: Vec<(&str, &str)> = env.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let mut gw = Gateway::start_release_configured("", &env);
    // When the second part is being sent, the first has been received.
    let mut parts = 0;
    for _ in 0..600 {
        parts = bucket.order("parts")["count"].as_u64().unwrap();
        if parts >= 2 {
            break;
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
    assert_eq!(parts, 2);
    gw.kill();
    drop(gw);
    bucket.order("line pass");
    let _gw = Gateway::start_release_configured("", &env);
    hook.wait("the upload", 60, |events| events.iter().any(|e| e["type"] == "recording.uploaded"));
    let (objects, open) = bucket.list("branch");
    assert_eq!((objects.len(), &objects[0]["sha256"], open), (1, &json!(digest), 0));
    assert_eq!(bucket.order("parts")["count"], 4, "the first part is not sent again");
    assert!(!file.exists());
}
