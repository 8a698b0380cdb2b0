//! Parameters of the requests of one upload, corrected by the server's responses, each at most once.

use std::time::Duration;

use super::s3_response::{self, Answer};
use super::server::Server;
use crate::base::http_date;
use crate::base::time::Utc;
use crate::config::{Place, S3};

/// Clock differences below this do not cause rejected signatures.
const SKEW: Duration = Duration::from_secs(300);

/// Request parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// The server.
    pub server: Server,
    /// Region to sign for.
    pub region: String,
    /// Send `Expect: 100-continue`.
    pub expect: bool,
    /// The server's time, and ours when it was received.
    clock: Option<(Utc, Utc)>,
    regioned: bool,
    redirected: bool,
}

impl Way {
    /// The parameters according to the settings.
    #[must_use]
    pub fn new(place: &Place, settings: &S3) -> Self {
        Self {
            server: Server::of(place, settings),
            region: place.region.clone(),
            expect: true,
            clock: None,
            regioned: false,
            redirected: false,
        }
    }

    /// The time to sign requests with.
    #[must_use]
    pub fn time(&self, now: Utc) -> Utc {
        self.clock.map_or(now, |(there, here)| Utc(there.0.saturating_add(now.0.saturating_sub(here.0))))
    }

    /// Learns from a response received at `now`. True: the same request is to be sent again.
    pub fn correct(&mut self, told: &Answer, place: &Place, settings: &S3, key: &str, now: Utc) -> bool {
        if told.status == 417 && self.expect {
            // Only means that a hop does not support expectations (RFC 9110 §10.1.1).
            self.expect = false;
            return true;
        }
        let refusal = s3_response::refusal(&told.text);
        let says = |code: &str| refusal.as_ref().is_some_and(|r| r.code == code);
        // A response to HEAD does not contain the error code.
        if (says("RequestTimeTooSkewed")
            || says("RequestExpired")
            || (refusal.is_none() && told.status == 403))
            && self.clock.is_none()
            && let Some(there) = told.date.as_deref().and_then(|d| http_date::parse(d, now))
            && there.0.abs_diff(now.0) >= SKEW
        {
            self.clock = Some((there, now));
            return true;
        }
        if !(300..500).contains(&told.status) {
            return false;
        }
        let named = refusal.as_ref().map(|r| r.region.as_str()).filter(|r| !r.is_empty());
        let region = named.or(told.region.as_deref()).filter(|r| is_region(r) && *r != self.region);
        let moved = matches!(told.status, 301 | 302 | 307 | 308);
        let there = moved.then(|| {
            let endpoint = refusal.as_ref().map(|r| r.endpoint.as_str()).filter(|e| !e.is_empty());
            let location = told.location.as_deref().and_then(|to| self.server.led_to(to, key));
            location.or_else(|| self.server.led_by(endpoint?, &place.bucket))
        });
        let there = there.flatten().filter(|to| *to != self.server && !self.redirected);
        let region = region.filter(|_| !self.regioned).map(str::to_owned);
        if let Some(region) = &region {
            self.regioned = true;
            self.region.clone_from(region);
            if place.endpoint.is_empty() && there.is_none() {
                self.server = Server::of(&Place { region: region.clone(), ..place.clone() }, settings);
            }
        }
        let changed = region.is_some() || there.is_some();
        if let Some(there) = there {
            self.redirected = true;
            self.server = there;
        }
        changed
    }
}

fn is_region(text: &str) -> bool {
    (1..=40).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::s3::UploadRequest;

    const NOW: u64 = 1_776_330_000_000;
    const KEY: &str = "calls/a b.wav";

    struct Trip {
        way: Way,
        place: Place,
        settings: S3,
    }

    impl Trip {
        fn to(endpoint: &str) -> Self {
            let settings = S3 { bucket: "branch".to_owned(), endpoint: endpoint.to_owned(), ..S3::default() };
            let place = settings.place(&UploadRequest::default()).unwrap();
            Self { way: Way::new(&place, &settings), place, settings }
        }

        fn hears(&mut self, told: &Answer) -> bool {
            self.way.correct(told, &self.place, &self.settings, KEY, Utc::from_millis(NOW))
        }

        fn at(&self) -> String {
            self.way.server.url(KEY)
        }
    }

    fn told(status: u16, xml: &str) -> Answer {
        let text = if xml.is_empty() { String::new() } else { format!("<Error>{xml}</Error>") };
        Answer { status, text, ..Answer::default() }
    }

    fn moved(status: u16, location: &str) -> Answer {
        Answer { location: Some(location.to_owned()), ..told(status, "") }
    }

    #[test]
    fn an_expectation_that_nobody_knows_is_left_out_once() {
        let mut t = Trip::to("https://m:9000");
        assert!(t.hears(&told(417, "")) && !t.way.expect);
        assert!(!t.hears(&told(417, "")), "then it is a refusal");
        assert!(!t.hears(&told(400, "<Code>BadDigest</Code>")));
        assert!(!t.hears(&told(503, "<Code>SlowDown</Code>")));
    }

    #[test]
    fn the_servers_time_is_used_once() {
        let skewed = |date: &str| Answer {
            date: Some(date.to_owned()),
            ..told(403, "<Code>RequestTimeTooSkewed</Code><Message>m</Message>")
        };
        // Two hours ahead of us, 40 years behind us; a response to HEAD.
        for (answer, secs) in [
            (skewed("Thu, 16 Apr 2026 11:00:00 GMT"), NOW / 1000 + 7200),
            (skewed("Sun, 06 Nov 1994 08:49:37 GMT"), 784_111_777),
            (Answer { text: String::new(), ..skewed("Sun, 06 Nov 1994 08:49:37 GMT") }, 784_111_777),
        ] {
            let mut t = Trip::to("https://m:9000");
            assert_eq!(t.way.time(Utc::from_millis(NOW)).secs(), NOW / 1000);
            assert!(t.hears(&answer));
            assert_eq!(t.way.time(Utc::from_millis(NOW + 5000)).secs(), secs + 5);
            assert!(!t.hears(&answer));
        }
        let mut t = Trip::to("https://m:9000");
        assert!(!t.hears(&skewed("Thu, 16 Apr 2026 09:01:00 GMT")), "a minute is no reason");
        assert!(!t.hears(&skewed("yesterday")));
        let denied = Answer {
            date: Some("Sun, 06 Nov 1994 08:49:37 GMT".to_owned()),
            ..told(403, "<Code>AccessDenied</Code>")
        };
        assert!(!t.hears(&denied), "which has another reason");
    }

    #[test]
    fn a_region_that_is_named_is_the_region() {
        let malformed =
            "<Code>AuthorizationHeaderMalformed</Code><Message>m</Message><Region>eu-west-1</Region>";
        // Another S3 implementation: signed again, same address.
        let mut t = Trip::to("https://m:9000");
        assert!(t.hears(&told(400, malformed)));
        assert_eq!(
            (t.way.region.as_str(), t.at().as_str()),
            ("eu-west-1", "https://m:9000/branch/calls/a b.wav")
        );
        assert!(!t.hears(&told(400, &malformed.replace("eu-west-1", "eu-west-2"))), "once");
        // Amazon: in the body, or in a header if there is no body.
        let header = Answer { region: Some("eu-west-1".to_owned()), ..told(301, "") };
        for answer in [told(400, malformed), header] {
            let mut t = Trip::to("");
            assert!(t.hears(&answer), "{answer:?}");
            assert_eq!(t.way.region, "eu-west-1");
            assert_eq!(t.at(), "https://branch.s3.eu-west-1.amazonaws.com/calls/a b.wav");
        }
        let mut t = Trip::to("");
        assert!(!t.hears(&told(400, &malformed.replace("eu-west-1", "us-east-1"))), "it is so already");
        assert!(!t.hears(&told(400, &malformed.replace("eu-west-1", "a b/c"))));
        assert!(!t.hears(&told(500, malformed)));
    }

    #[test]
    fn redirections_are_followed_once_and_never_to_an_open_line() {
        for status in [301, 302, 307, 308] {
            let mut t = Trip::to("https://m:9000");
            assert!(t.hears(&moved(status, "https://n/other/calls/a%20b.wav?x=1")), "{status}");
            assert_eq!(t.at(), "https://n/other/calls/a b.wav");
            assert!(!t.hears(&moved(status, "https://o/other/calls/a%20b.wav")), "once");
        }
        for (from, to, at) in [
            ("http://m", "https://m/branch/calls/a%20b.wav", Some("https://m/branch/calls/a b.wav")),
            ("http://m", "HTTP://n:81/branch/calls/a%20b.wav", Some("http://n:81/branch/calls/a b.wav")),
            ("http://m", "/tenant/branch/calls/a%20b.wav", Some("http://m/tenant/branch/calls/a b.wav")),
            ("https://m", "http://m/branch/calls/a%20b.wav", None),
            ("https://m", "https://m/branch/calls/a%20b.wav", None),
            ("https://m", "https://u:p@n/branch/calls/a%20b.wav", None),
            ("https://m", "https://portal/login", None),
            ("https://m", "ftp://n/branch/calls/a%20b.wav", None),
            ("https://m", "//n/branch/calls/a%20b.wav", None),
            ("https://m", "", None),
        ] {
            let mut t = Trip::to(from);
            assert_eq!(t.hears(&moved(307, to)).then(|| t.at()).as_deref(), at, "{from} {to}");
        }
        assert!(
            !Trip::to("https://m").hears(&moved(303, "https://n/branch/calls/a%20b.wav")),
            "which means GET"
        );
        assert!(!Trip::to("https://m").hears(&moved(200, "https://n/branch/calls/a%20b.wav")));
        // Amazon names the endpoint in the body.
        let endpoint = "<Code>PermanentRedirect</Code><Endpoint>branch.s3-eu-west-1.amazonaws.com</Endpoint>";
        let mut t = Trip::to("");
        let answer = Answer { region: Some("eu-west-1".to_owned()), ..told(301, endpoint) };
        assert!(t.hears(&answer));
        assert_eq!(
            (t.way.region.as_str(), t.at().as_str()),
            ("eu-west-1", "https://branch.s3-eu-west-1.amazonaws.com/calls/a b.wav")
        );
        assert!(!Trip::to("").hears(&told(301, "<Code>PermanentRedirect</Code><Endpoint>a/b</Endpoint>")));
    }
}
