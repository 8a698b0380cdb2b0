//! All endpoints, collected from the files of the resources.

use super::endpoint::Endpoint;
use super::{
    amd, call_control, dtmf, legs, metrics, not_implemented, playback, quality, recording, recordings,
    registrations, rooms, self_test, status, system, trunks, webhooks,
};

static TABLES: &[&[Endpoint]] = &[
    system::ENDPOINTS,
    metrics::ENDPOINTS,
    status::ENDPOINTS,
    self_test::ENDPOINTS,
    legs::ENDPOINTS,
    call_control::ENDPOINTS,
    dtmf::ENDPOINTS,
    amd::ENDPOINTS,
    quality::ENDPOINTS,
    playback::ENDPOINTS,
    recording::ENDPOINTS,
    recordings::ENDPOINTS,
    rooms::ENDPOINTS,
    trunks::ENDPOINTS,
    registrations::ENDPOINTS,
    webhooks::ENDPOINTS,
    not_implemented::ENDPOINTS,
];

/// Every endpoint of the API.
pub fn all() -> impl Iterator<Item = &'static Endpoint> {
    TABLES.iter().copied().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_route_stands_twice() {
        let mut seen: Vec<_> = all().map(|r| (r.path, r.method)).collect();
        seen.sort_unstable();
        let n = seen.len();
        seen.dedup();
        assert_eq!(n, seen.len());
    }
}
