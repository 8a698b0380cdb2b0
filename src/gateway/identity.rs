//! Who a call of ours says that it comes from (RFC 3261 §20.20, RFC 3323, RFC 3325).

use super::call_out::OutRequest;
use crate::wire::Uri;

impl OutRequest {
    /// Only a trunk is told who calls, and to keep it to itself (RFC 3323 §4.1, RFC 3325 §7).
    pub(super) fn hides_identity(&self) -> bool {
        let hides = |p: &str| ["id", "user", "header"].iter().any(|h| p.trim().eq_ignore_ascii_case(h));
        self.privacy.split(';').any(hides)
    }

    /// Our address in a call, where the call says who calls: in the domain of its trunk, else at `ours`.
    pub(super) fn identity(&self, ours: &str) -> Option<String> {
        if self.from.is_empty() {
            return None;
        }
        if Uri::parse(&self.from).is_ok_and(|u| u.sip().is_some()) {
            return Some(self.from.clone());
        }
        let way = self.way.as_ref();
        let host = way.and_then(|w| w.host.as_deref()).unwrap_or(ours);
        let user = way.and_then(|w| w.user.as_deref()).unwrap_or(&self.from);
        Some(format!("sip:{user}@{host}"))
    }
}
