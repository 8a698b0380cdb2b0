//! Names to addresses, by the system's resolver, off the control thread.

use std::net::{IpAddr, ToSocketAddrs as _};
use std::time::Duration;

use super::timer;

/// Longest look-up, after which the name counts as unknown.
const PATIENCE: Duration = Duration::from_secs(8);

/// The addresses of a host, best first; empty when it has none.
pub async fn resolve(host: String) -> Vec<IpAddr> {
    let look_up = smol::unblock(move || {
        (host.as_str(), 0).to_socket_addrs().map(|found| found.map(|a| a.ip()).collect()).unwrap_or_default()
    });
    timer::within(PATIENCE, look_up).await.unwrap_or_default()
}
