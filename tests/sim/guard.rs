//! Server side of digest authentication, implemented independently of the tested code.

use branchline::sip::transactions::{ServerId, Transactions};
use branchline::wire::Request;
use branchline::wire::challenge::fields;
use md5::Md5;
use sha2::{Digest as _, Sha256};

/// Accepts requests with the password of `alice`.
pub struct Guard {
    pub proxy: bool,
    pub sha256: bool,
    /// Every nonce is valid for one request, and stale is never signalled.
    pub once: bool,
    pub password: &'static str,
    /// Reports every answer as stale.
    pub never_content: bool,
    nonce: u32,
    count: u32,
    pub passed: u32,
    pub challenged: u32,
}

impl Guard {
    pub fn new(proxy: bool, sha256: bool, once: bool, password: &'static str) -> Self {
        Self {
            proxy,
            sha256,
            once,
            password,
            never_content: false,
            nonce: 1000,
            count: 0,
            passed: 0,
            challenged: 0,
        }
    }

    fn hash(&self, text: &str) -> String {
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        if self.sha256 { hex(&Sha256::digest(text)) } else { hex(&Md5::digest(text)) }
    }

    /// True if the request has the right answer to the current nonce.
    fn knows(&mut self, request: &Request) -> bool {
        let name = if self.proxy { "Proxy-Authorization" } else { "Authorization" };
        let Some(given) = request.common.headers.get(name).and_then(fields) else { return false };
        let get = |n: &str| given.iter().find(|(k, _)| k == n).map_or("", |(_, v)| v.as_str());
        assert_eq!((get("username"), get("realm"), get("opaque")), ("alice", "office", "o"));
        assert_eq!(get("uri"), request.uri.to_string(), "the Request-URI");
        if get("nonce") != self.nonce.to_string() {
            return false;
        }
        let count = u32::from_str_radix(get("nc"), 16).unwrap();
        assert!(count > self.count, "the count of a nonce goes up");
        self.count = count;
        let (nonce, nc, cnonce) = (get("nonce"), get("nc"), get("cnonce"));
        let ha1 = self.hash(&format!("alice:office:{}", self.password));
        let ha2 = self.hash(&format!("{}:{}", request.method, get("uri")));
        self.hash(&format!("{ha1}:{nonce}:{nc}:{cnonce}:auth:{ha2}")) == get("response")
    }

    /// Responds to an unauthorized request; true if it is authorized.
    pub fn judge(
        &mut self,
        now: std::time::Instant,
        tx: &mut Transactions,
        id: ServerId,
        request: &Request,
    ) -> bool {
        let passes = self.knows(request) && !self.never_content;
        if self.once || !passes {
            self.nonce += 1;
            self.count = 0;
        }
        if passes {
            self.passed += 1;
            return true;
        }
        self.challenged += 1;
        let (code, reason, name) = if self.proxy {
            (407, "Proxy Authentication Required", "Proxy-Authenticate")
        } else {
            (401, "Unauthorized", "WWW-Authenticate")
        };
        let mut draft = tx.draft(id, code, reason).unwrap();
        let algorithm = if self.sha256 { "SHA-256" } else { "MD5" };
        let nonce = self.nonce;
        let stale = if self.never_content { ", stale=true" } else { "" };
        draft.push(name, "Digest realm=\"office\", nonce=\"x\", algorithm=SHA-512-256, qop=\"auth\"");
        draft.push(
            name,
            format!("Digest realm=\"office\", nonce=\"{nonce}\", opaque=\"o\", algorithm={algorithm}, qop=\"auth,auth-int\"{stale}"),
        );
        tx.respond(now, id, code, &draft);
        false
    }
}
