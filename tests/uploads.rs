//! The S3 client against servers with unusual answers, over sockets: corrected, retried or failed
//! permanently.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::cast_lossless,
    clippy::too_many_lines,
    unreachable_pub,
    missing_docs,
    reason = "a test may fail loudly"
)]

#[path = "common/bucket.rs"]
mod bucket;
#[path = "common/caller.rs"]
mod caller;
mod common;
#[path = "common/hook.rs"]
mod hook;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use branchline::base::http_date::imf_fixdate;
use branchline::base::time::Utc;
use branchline::config::s3::UploadRequest;
use branchline::config::{Config, S3};
use branchline::delivery::failure::Failure;
use branchline::delivery::uploads::Job;
use branchline::io::net::http_client::Rules;
use branchline::io::outbox::rows::RecordingRow;
use branchline::upload::client::{Client, Fault, Task};
use bucket::{Said, Seen, Server, error, said};
use caller::{Caller, packet};
use common::Gateway;
use hook::Hook;
use serde_json::json;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A recording of this size to be uploaded to a server.
struct Upload {
    client: Client,
    task: Task,
    file: PathBuf,
}

impl Upload {
    fn of(bytes: usize, to: &Server) -> Self {
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let file = std::env::temp_dir().join(format!("branchline-upload-{}-{n}.wav", std::process::id()));
        std::fs::write(&file, (0..bytes).map(|n| (n * 7 + n / 251) as u8).collect::<Vec<_>>()).unwrap();
        let settings = S3 {
            bucket: "branch".to_owned(),
            endpoint: to.url.clone(),
            access_key: "AK".into(),
            secret_key: "secret".into(),
            ..S3::default()
        };
        let place = Arc::new(settings.place(&UploadRequest::default()).unwrap());
        let (tell, notes) = async_channel::bounded(16);
        std::thread::spawn(move || while notes.recv_blocking().is_ok() {});
        let row = RecordingRow {
            id: "r.wav".to_owned(),
            file: file.display().to_string(),
            bytes: bytes as u64,
            upload: Some(Arc::clone(&place)),
            ..RecordingRow::default()
        };
        let task = Task {
            job: Job { place_id: 1, place, id: row.id.clone(), failures: 0 },
            row,
            flight: Arc::default(),
        };
        Self { client: Client::new(&settings, &Rules::new(&Config::default()), tell), task, file }
    }

    fn go(&self) -> Result<(), Fault> {
        self.client.upload(&self.task)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.file));
    }
}

fn put(to: &Server) -> Result<(), Fault> {
    Upload::of(5000, to).go()
}

fn later(result: &Result<(), Fault>) -> &Failure {
    let Err(Fault::Later(failure)) = result else { panic!("{result:?}") };
    failure
}

/// The ETag of S3 for unencrypted objects (MD5).
fn plain(seen: &Seen) -> String {
    format!("ETag: \"{}\"\r\n", seen.md5)
}

/// An ETag unrelated to the contents, as with SSE-KMS.
const OTHER: &str = "ETag: \"0123456789abcdef0123456789abcdef\"\r\n";

#[test]
fn a_server_without_support_for_expect_gets_requests_without() {
    let server = Server::start(|r| if r.expects() { said(417, "", "") } else { said(200, &plain(r), "") });
    assert_eq!(put(&server), Ok(()));
    let all = server.all();
    assert_eq!(all.iter().map(|s| (s.expects(), s.bytes)).collect::<Vec<_>>(), [(true, 0), (false, 5000)]);
    // If it answers 417 without an expectation, the request is not repeated forever.
    let server = Server::start(|_| said(417, "", ""));
    assert!(later(&put(&server)).why.contains("417"));
    assert_eq!(server.asked(), ["PUT", "PUT"]);
    // Further parts are sent without it at once.
    let server = Server::start(|r| match r.what().as_str() {
        "PUT part" if r.expects() => said(417, "", ""),
        "PUT part" => said(200, &plain(r), ""),
        _ => parts(r),
    });
    assert_eq!(Upload::of(17 << 20, &server).go(), Ok(()));
    assert_eq!(server.all().iter().filter(|s| s.expects()).count(), 1);
}

#[test]
fn keys_with_put_permission_only_are_sufficient() {
    for (etag, head, asked) in [
        ("", 403, vec!["PUT"]),
        (OTHER, 403, vec!["PUT", "HEAD"]),
        (OTHER, 405, vec!["PUT", "HEAD"]),
        (OTHER, 501, vec!["PUT", "HEAD"]),
        (OTHER, 503, vec!["PUT", "HEAD"]),
    ] {
        let server = Server::start(move |r| match r.method.as_str() {
            "PUT" if etag.is_empty() => said(200, &plain(r), ""),
            "PUT" => said(200, etag, ""),
            _ => said(head, "", ""),
        });
        assert_eq!(put(&server), Ok(()), "{etag} {head}");
        assert_eq!(server.asked(), asked, "{etag} {head}");
    }
}

#[test]
fn an_object_of_another_size_is_not_accepted() {
    for (etag, head, length, good) in [
        (OTHER, 200, "Content-Length: 5000\r\n", true),
        (OTHER, 200, "Content-Length: 4999\r\n", false),
        (OTHER, 200, "Content-Length: 0\r\n", false),
        (OTHER, 404, "", false),
        // A login page accepts everything.
        ("", 200, "Content-Length: 77\r\n", false),
        ("", 500, "", false),
        ("", 200, "Content-Length: 5000\r\n", true),
        ("", 403, "", true),
    ] {
        let server = Server::start(move |r| match r.method.as_str() {
            "PUT" => said(200, etag, ""),
            _ => said(head, length, ""),
        });
        let result = put(&server);
        assert_eq!(result.is_ok(), good, "{etag} {head} {length}: {result:?}");
        assert!(good || later(&result).wait.is_none());
    }
}

#[test]
fn refusals_have_the_expected_outcome_and_reason() {
    let server = Server::start(|_| error(400, "EntityTooLarge"));
    assert_eq!(put(&server), Err(Fault::Never("400 EntityTooLarge: m".to_owned())));
    let server = Server::start(|_| said(413, "", "<html>"));
    assert!(matches!(put(&server), Err(Fault::Never(_))));
    for code in ["NoSuchBucket", "AccessDenied", "SignatureDoesNotMatch"] {
        let server = Server::start(move |_| error(403, code));
        assert_eq!(*later(&put(&server)), Failure { why: format!("403 {code}: m"), wait: None });
    }
    let server = Server::start(|_| {
        let (status, _, text) = error(503, "SlowDown");
        said(status, "Retry-After: 90\r\n", &text)
    });
    let wait = Some(Duration::from_secs(90));
    assert_eq!(*later(&put(&server)), Failure { why: "503 SlowDown: m".to_owned(), wait });
    // Relative to the server's clock.
    let server = Server::start(|_| {
        let lines = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: Sun, 06 Nov 1994 08:51:07 GMT\r\n";
        said(429, lines, "")
    });
    assert_eq!(later(&put(&server)).wait, wait);
    // An error with status 200, and a truncated response.
    let server = Server::start(|_| error(200, "InternalError"));
    assert_eq!(later(&put(&server)).why, "200 InternalError: m");
    let server = Server::start(|r| said(200, &format!("{}Content-Length: 99\r\n", plain(r)), "<x>"));
    assert!(later(&put(&server)).why.contains("broke off"));
    let server = Server::start(|_| said(302, "Location: http://portal/login?token=7\r\n", "<html>"));
    assert_eq!(later(&put(&server)).why, "it answered 302 and leads to http://portal/login");
}

#[test]
fn region_clock_and_address_are_learnt_from_the_server() {
    let scope =
        |r: &Seen, region: &str| r.field("authorization").unwrap().contains(&format!("/{region}/s3/"));
    let server = Server::start(move |r| {
        if scope(r, "eu-west-1") {
            return said(200, &plain(r), "");
        }
        let text = "<Error><Code>AuthorizationHeaderMalformed</Code><Message>m</Message><Region>eu-west-1</Region></Error>";
        said(400, "", text)
    });
    assert_eq!(put(&server), Ok(()));
    assert_eq!(server.asked().len(), 2);
    // Its clock is two hours ahead.
    let hours =
        |n: u64| Utc(SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_secs(n * 3600));
    let server = Server::start(move |r| {
        let there = hours(2);
        let hour = &there.compact().replace('_', "T")[..11];
        if r.field("x-amz-date").unwrap().starts_with(hour) {
            return said(200, &plain(r), "");
        }
        let (status, _, text) = error(403, "RequestTimeTooSkewed");
        said(status, &format!("Date: {}\r\n", imf_fixdate(there)), &text)
    });
    assert_eq!(put(&server), Ok(()));
    assert_eq!(server.asked().len(), 2);
    // A server with contradicting answers is not asked forever.
    let server = Server::start(move |_| {
        let (status, _, text) = error(403, "RequestTimeTooSkewed");
        said(status, &format!("Date: {}\r\n", imf_fixdate(hours(5))), &text)
    });
    assert!(later(&put(&server)).why.contains("RequestTimeTooSkewed"));
    assert_eq!(server.asked().len(), 2);
    for status in [301, 307, 308] {
        let target = Arc::new(Server::start(|r| said(200, &plain(r), "")));
        let to = format!("Location: {}/tenant/branch/r.wav\r\n", target.url);
        let server = Server::start(move |_| said(status, &to, ""));
        assert_eq!(put(&server), Ok(()), "{status}");
        let got = target.all();
        assert_eq!((got[0].target.as_str(), got[0].bytes), ("/tenant/branch/r.wav", 5000));
        assert_eq!(got[0].field("host").unwrap(), target.url.trim_start_matches("http://"));
    }
    // Redirect loops.
    let server = Server::start(|r| said(307, &format!("Location: /x{}\r\n", r.target), ""));
    assert!(later(&put(&server)).why.contains("it answered 307 and leads to"));
    assert_eq!(server.asked().len(), 2);
}

/// A server's responses for a multipart upload.
fn parts(r: &Seen) -> Said {
    match r.what().as_str() {
        "POST begin" => said(
            200,
            "",
            "<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>",
        ),
        "PUT part" => said(200, &plain(r), ""),
        "POST complete" => said(
            200,
            "",
            "<?xml version=\"1.0\"?>\n   \n  <CompleteMultipartUploadResult><ETag>\"kms-3\"</ETag></CompleteMultipartUploadResult>",
        ),
        "DELETE parts" => said(204, "", ""),
        "HEAD" => said(403, "", ""),
        _ => error(403, "AccessDenied"),
    }
}

const BIG: usize = 17 << 20;

#[test]
fn the_response_to_complete_is_read_to_its_end() {
    let ending = |text: &'static str, lines: &'static str| {
        let server = Server::start(move |r| match r.what().as_str() {
            "POST complete" => said(200, lines, text),
            _ => parts(r),
        });
        (Upload::of(BIG, &server).go(), server.asked())
    };
    let result = "<CompleteMultipartUploadResult><ETag>\"x\"</ETag></CompleteMultipartUploadResult>";
    let (done, asked) = ending(result, "");
    assert_eq!(done, Ok(()));
    assert_eq!(asked, ["POST begin", "PUT part", "PUT part", "PUT part", "POST complete", "HEAD"]);
    let late = "<?xml version=\"1.0\"?>\n \n \n<Error><Code>InternalError</Code><Message>m</Message></Error>";
    assert_eq!(later(&ending(late, "").0).why, "200 InternalError: m");
    let blank = "\n \n<Error><Code>SlowDown</Code><Message>m</Message></Error>";
    assert_eq!(later(&ending(blank, "").0).why, "200 SlowDown: m");
    // Truncated, with and without a Content-Length.
    assert!(later(&ending("<CompleteMulti", "Content-Length: 99\r\n").0).why.contains("broke off"));
    assert!(later(&ending("\n <CompleteMultipartUploadRes", "").0).why.contains("200"));
    later(&ending("", "").0);
    let (small, asked) = ending("<Error><Code>EntityTooSmall</Code><Message>m</Message></Error>", "");
    assert_eq!(small, Err(Fault::Never("200 EntityTooSmall: m".to_owned())));
    assert_eq!(asked.last().unwrap(), "DELETE parts", "nothing is left behind");
    let (gone, _) = ending("<Error><Code>NoSuchUpload</Code><Message>m</Message></Error>", "");
    assert_eq!(gone, Err(Fault::Anew("200 NoSuchUpload: m".to_owned())));
}

#[test]
fn a_part_without_an_etag_is_looked_up_or_guessed() {
    // Completion requires these digests; `list`: the server lists them on request.
    let without = |list: bool, kms: bool| {
        let etag = move |n: usize, md5: &str| if kms { format!("kms{n}") } else { md5.to_owned() };
        let had: Mutex<Vec<String>> = Mutex::default();
        let server = Server::start(move |r| match r.what().as_str() {
            // Before the body, its digest is unknown.
            "PUT part" if r.md5.is_empty() => said(200, "", ""),
            "PUT part" => {
                let mut had = had.lock().unwrap();
                let n = had.len() + 1;
                had.push(etag(n, &r.md5));
                said(200, "", "")
            }
            "GET parts" if list => {
                let part = |(n, etag): (usize, &String)| {
                    format!(
                        "<Part><PartNumber>{}</PartNumber><ETag>\"{etag}\"</ETag><Size>1</Size></Part>",
                        n + 1
                    )
                };
                let all: String = had.lock().unwrap().iter().enumerate().map(part).collect();
                said(200, "", &format!("<ListPartsResult>{all}</ListPartsResult>"))
            }
            "POST complete" if kms && !list => error(400, "InvalidPart"),
            _ => parts(r),
        });
        (Upload::of(BIG, &server).go(), server.asked())
    };
    let (done, asked) = without(true, true);
    assert_eq!(done, Ok(()));
    assert_eq!(asked[4..], ["GET parts", "POST complete", "HEAD"]);
    let (done, asked) = without(false, false);
    assert_eq!((done, asked.len()), (Ok(()), 7));
    let (never, asked) = without(false, true);
    assert!(matches!(&never, Err(Fault::Never(why)) if why.contains("ETag")), "{never:?}");
    assert_eq!(asked[4..], ["GET parts", "POST complete", "DELETE parts"]);
}

#[test]
fn a_missing_file_is_not_retried_forever() {
    for (status, lines, want) in [
        (200, "ETag: \"x\"\r\nContent-Length: 5000\r\n", Ok(())),
        (200, "ETag: \"x\"\r\nContent-Length: 1\r\n", Err("lost")),
        (404, "", Err("lost")),
        (403, "", Err("lost")),
        (405, "", Err("lost")),
        (204, "", Err("later")),
        (503, "", Err("later")),
    ] {
        let server = Server::start(move |_| said(status, lines, ""));
        let upload = Upload::of(5000, &server);
        std::fs::remove_file(&upload.file).unwrap();
        let got = upload.go().map_err(|e| match e {
            Fault::Lost(_) => "lost",
            Fault::Later(_) => "later",
            other => panic!("{other:?}"),
        });
        assert_eq!(got, want, "{status} {lines}");
    }
}

/// A short recording for a server; the response to its end, and its name.
fn record(gw: &Gateway, c: &Caller, to: &Server) -> (String, String) {
    let body = json!({"storage": "s3", "s3_bucket": "bkt", "s3_endpoint": to.url, "s3_access_key": "a", "s3_secret_key": "k"});
    let at = format!("/v1/legs/{}/record", c.leg);
    assert_eq!(gw.post(&at, &body.to_string()).status, 200);
    for n in 0..20 {
        c.rtp.send_to(&packet(0, n, 9, true), c.media).unwrap();
        std::thread::park_timeout(Duration::from_millis(20));
    }
    let stopped = gw.delete(&at).json()["file"].as_str().unwrap().to_owned();
    let id = stopped.rsplit('/').next().unwrap().to_owned();
    (stopped, id)
}

#[test]
fn permanent_failures_are_reported_and_retries_show_their_time() {
    let hook = Hook::start();
    let gw = Gateway::start_configured("[s3]\nwait_s = 30\n", &[("WEBHOOK_URL", &hook.url)]);
    let c = Caller::call(&gw);
    let never = Server::start(|_| error(400, "EntityTooLarge"));
    // It is answered when known, not after the 30 s that an upload may take.
    let (file, id) = record(&gw, &c, &never);
    assert!(std::path::Path::new(&file).exists(), "{file}");
    hook.wait("recording.upload_failed", 10, |all| {
        all.iter().any(|e| e["type"] == "recording.upload_failed" && e["error"] == "400 EntityTooLarge: m")
    });
    let shown = gw.get(&format!("/v1/recordings/{id}")).json();
    assert_eq!((&shown["state"], &shown["upload"]["next_try"]), (&json!("failed"), &json!(null)), "{shown}");
    assert_eq!(never.asked(), ["PUT"]);
    drop(gw);

    let gw = Gateway::start_configured("[s3]\nwait_s = 0\n", &[]);
    let c = Caller::call(&gw);
    let busy = Server::start(|_| said(503, "Retry-After: 86400\r\n", ""));
    let (_, id) = record(&gw, &c, &busy);
    let next = loop {
        let shown = gw.get(&format!("/v1/recordings/{id}")).json();
        if let Some(next) = shown["upload"]["next_try"].as_str() {
            assert_eq!(shown["upload"]["last_error"], "it answered 503");
            break Utc::parse(next).unwrap().secs();
        }
        std::thread::park_timeout(Duration::from_millis(20));
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    // A wait is limited to ten minutes.
    assert!((590..=600).contains(&(next - now)), "{} s", next - now);
    assert_eq!(busy.asked(), ["PUT"]);
}

#[test]
fn configured_keys_are_not_sent_to_servers_given_by_a_client() {
    let (foreign, own) =
        (Server::start(|r| said(200, &plain(r), "")), Server::start(|r| said(200, &plain(r), "")));
    let settings = format!("[s3]\nbucket = \"bkt\"\nendpoint = \"{}\"\nwait_s = 10\n", own.url);
    let keys = [
        ("AWS_ACCESS_KEY_ID", "AKIAOPERATOR"),
        ("AWS_SECRET_ACCESS_KEY", "operatorsecret"),
        ("AWS_SESSION_TOKEN", "OPERATOR-SESSION-TOKEN"),
    ];
    let gw = Gateway::start_configured(&settings, &keys);
    let c = Caller::call(&gw);
    let at = format!("/v1/legs/{}/record", c.leg);
    for body in [
        json!({"storage": "s3", "s3_endpoint": foreign.url, "s3_bucket": "evil"}),
        json!({"storage": "s3", "s3_endpoint": foreign.url, "s3_access_key": "", "s3_secret_key": ""}),
    ] {
        let refused = gw.post(&at, &body.to_string());
        assert_eq!(refused.status, 400, "{refused:?}");
        assert!(refused.error().contains("s3_access_key and s3_secret_key are needed"), "{refused:?}");
    }
    // Keys given by the client are sent, and no configured ones.
    record(&gw, &c, &foreign);
    // The configured server is trusted, also if named in the request.
    let body = json!({"storage": "s3", "s3_endpoint": format!("{}/", own.url)});
    assert_eq!(gw.post(&at, &body.to_string()).status, 200);
    c.rtp.send_to(&packet(0, 1, 9, true), c.media).unwrap();
    gw.delete(&at);
    let shown = |server: &Server| server.all().iter().filter(|s| s.head.contains("OPERATOR")).count();
    assert_eq!((foreign.asked().len(), shown(&foreign)), (1, 0));
    assert_eq!((own.asked().len(), shown(&own)), (1, 1));

    // Requests stored by an earlier version are not sent either.
    let mut old = Upload::of(500, &foreign);
    let place = branchline::config::Place { trusted: false, ..(*old.task.job.place).clone() };
    old.task.job.place = Arc::new(place);
    assert!(matches!(old.go(), Err(Fault::Never(_))));
    assert_eq!(foreign.asked().len(), 1);
}
