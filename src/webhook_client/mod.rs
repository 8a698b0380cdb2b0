//! Rank 6: the webhook client. Performs the I/O that the event queues request.

use std::rc::Rc;
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::base::hex::hex;
use crate::delivery::events::Job;
use crate::delivery::failure::{Failure, retry_after};
use crate::io::events::pipeline::EventPipeline;
use crate::io::net::http_client::USER_AGENT;
use crate::io::net::http_pool::HttpPool;
use crate::io::system::clock;
use crate::io::system::executor::Executor;

/// Time limit of one try: connect, header and body together.
pub const LIMIT: Duration = Duration::from_secs(10);

/// Delivers events until the program ends.
pub async fn run(executor: Rc<Executor>, events: Rc<EventPipeline>, client: Rc<HttpPool>) {
    loop {
        while let Some(job) = events.next_delivery() {
            let (done, client) = (Rc::clone(&events), Rc::clone(&client));
            executor.spawn(async move {
                let outcome = post(&client, &job).await;
                done.delivered(job.target, job.item.row, outcome);
            });
        }
        events.delivery_due().await;
    }
}

/// One try.
async fn post(client: &HttpPool, job: &Job) -> Result<(), Failure> {
    let (item, destination) = (&job.item, &job.destination);
    let mut fields = vec![
        ("Content-Type", "application/json"),
        ("X-Event-Id", &item.event_id),
        ("User-Agent", USER_AGENT),
        ("Accept", "*/*"),
    ];
    let signed = Signed::of(destination.secret.as_bytes(), &item.body);
    if let Some(signed) = &signed {
        fields.extend(signed.fields());
    }
    match client.post(&destination.url, destination.trusted, &fields, &item.body).await {
        Ok(response) if matches!(response.status, 200..300) => Ok(()),
        Ok(response) => {
            let status = response.status;
            log::debug!(status; "webhook refused");
            let wait =
                retry_after(status, response.field("retry-after"), response.field("date"), clock::now().utc);
            Err(Failure { why: format!("it answered {status}"), wait })
        }
        Err(e) => {
            log::debug!(error:% = e; "webhook not reached");
            Err(e.to_string().into())
        }
    }
}

/// The header fields that sign an event.
struct Signed {
    body: String,
    at: String,
    stamped: String,
}

impl Signed {
    /// `None` without a secret.
    fn of(secret: &[u8], body: &[u8]) -> Option<Self> {
        if secret.is_empty() {
            return None;
        }
        let at = clock::now().utc.secs().to_string();
        let stamped = [at.as_bytes(), b".", body].concat();
        Some(Self {
            body: format!("sha256={}", sign(secret, body)),
            stamped: format!("v1={}", sign(secret, &stamped)),
            at,
        })
    }

    fn fields(&self) -> [(&str, &str); 3] {
        [
            ("X-Signature-256", &self.body),
            ("X-Webhook-Timestamp", &self.at),
            ("X-Webhook-Signature", &self.stamped),
        ]
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

        use crate::base::rng::Rng;
        use crate::config::Config;
        use crate::delivery::events::{Destination, Item};
        use crate::io::net::dns::Dns;
        use crate::io::net::http_client::Rules;

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
        let dns = Rc::new(Dns::new(Vec::new(), Rng::from_number(1)));
        let client = HttpPool::new(dns, Rules::new(&Config::default()), LIMIT).unwrap();
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
            let failure = async_io::block_on(post(&client, &job)).unwrap_err();
            assert_eq!(failure.wait.map(|w| w.as_secs()), secs, "{status} {line}");
            assert_eq!(failure.why, format!("it answered {}", &status[..3]));
        }
        server.join().unwrap();
    }
}
