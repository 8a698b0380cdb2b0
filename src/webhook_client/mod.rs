//! Rank 6: the webhook client. Performs the I/O that the event queues request.

use std::rc::Rc;
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::base::hex::hex;
use crate::delivery::events::Job;
use crate::delivery::failure::{Failure, retry_after};
use crate::io::events::pipeline::EventPipeline;
use crate::io::net::http_client::{HttpClient, Rules};
use crate::io::system::clock;
use crate::io::system::executor::Executor;
use crate::io::system::workers::HOOKS;

/// Time-out of one try: connect, headers and body together.
const PATIENCE: Duration = Duration::from_secs(10);

/// Delivers events until the program ends.
pub async fn run(executor: Rc<Executor>, events: Rc<EventPipeline>, rules: Rules) {
    let client = HttpClient::new(&rules, PATIENCE);
    loop {
        while let Some(job) = events.next_delivery() {
            let (done, client) = (Rc::clone(&events), client.clone());
            executor.spawn(async move {
                let (target, row) = (job.target, job.item.row);
                let outcome = HOOKS.run(move || post(&client, &job)).await;
                let outcome = outcome.unwrap_or_else(|e| Err(e.to_string().into()));
                done.delivered(target, row, outcome);
            });
        }
        events.delivery_due().await;
    }
}

/// One try.
fn post(client: &HttpClient, job: &Job) -> Result<(), Failure> {
    let mut request = client
        .agent(job.destination.trusted)
        .post(&job.destination.url)
        .header("Content-Type", "application/json")
        .header("X-Event-Id", &job.item.event_id);
    let secret = job.destination.secret.as_bytes();
    if !secret.is_empty() {
        let at = clock::now().utc.secs().to_string();
        let stamped = [at.as_bytes(), b".", &job.item.body].concat();
        request = request
            .header("X-Signature-256", format!("sha256={}", sign(secret, &job.item.body)))
            .header("X-Webhook-Timestamp", &at)
            .header("X-Webhook-Signature", format!("v1={}", sign(secret, &stamped)));
    }
    match request.send(&job.item.body[..]) {
        Ok(mut reply) if reply.status().is_success() => {
            // Read to the end so that the connection can be reused; the content is ignored.
            let _said = reply.body_mut().with_config().limit(64 * 1024).read_to_vec();
            Ok(())
        }
        Ok(reply) => {
            let status = reply.status().as_u16();
            log::debug!(status; "webhook refused");
            let field = |name: &str| reply.headers().get(name).and_then(|v| v.to_str().ok());
            let wait = retry_after(status, field("retry-after"), field("date"), clock::now().utc);
            Err(Failure { why: format!("it answered {status}"), wait })
        }
        Err(e) => {
            log::debug!(error:% = e; "webhook not reached");
            Err(e.to_string().into())
        }
    }
}

/// Lower-case hex of HMAC-SHA256.
fn sign(secret: &[u8], body: &[u8]) -> String {
    // HMAC accepts keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else { return String::new() };
    mac.update(body);
    hex(&mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_hmac_sha256() {
        // RFC 4231, test case 2.
        let want = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(sign(b"Jefe", b"what do ya want for nothing?"), want);
    }

    #[test]
    fn a_target_may_name_the_time_it_wants() {
        use std::io::{Read as _, Write as _};

        use crate::config::Config;
        use crate::delivery::events::{Destination, Item};

        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let date = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: Sun, 06 Nov 1994 08:50:37 GMT";
        let table = [
            ("429 x", "Retry-After: 120", Some(120)),
            ("503 x", "retry-after: 7200", Some(600)),
            ("503 x", date, Some(60)),
            ("503 x", "Server: x", None),
            ("500 x", "Retry-After: 120", None),
            ("301 x", "Retry-After: 120", None),
        ];
        let server = std::thread::spawn(move || {
            for (status, line, _) in table {
                let (mut stream, _) = listener.accept().unwrap();
                let mut bytes = [0; 4096];
                let mut got = Vec::new();
                while !got.ends_with(b"{}") {
                    let n = stream.read(&mut bytes).unwrap();
                    got.extend_from_slice(&bytes[..n]);
                }
                let head =
                    format!("HTTP/1.1 {status}\r\n{line}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                stream.write_all(head.as_bytes()).unwrap();
            }
        });
        let client = HttpClient::new(&Rules::new(&Config::default()), PATIENCE);
        let destination = Destination { url, secret: String::new(), trusted: true };
        let item = Item {
            row: 1,
            leg: None,
            event_id: "e".to_owned(),
            body: std::sync::Arc::from(*b"{}"),
            terminal: false,
            origin: crate::delivery::share::Origin::Own,
            stored: false,
        };
        let job = Job { target: 1, destination, item };
        for (status, line, secs) in table {
            let failure = post(&client, &job).unwrap_err();
            assert_eq!(failure.wait.map(|w| w.as_secs()), secs, "{status} {line}");
            assert_eq!(failure.why, format!("it answered {}", &status[..3]));
        }
        server.join().unwrap();
    }
}
