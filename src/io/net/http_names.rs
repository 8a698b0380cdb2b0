//! Name resolution for the HTTP client, on dedicated worker threads with a time limit.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use crate::io::system::workers::NAMES;

/// Maximum addresses tried.
const MAX_ADDRESSES: usize = 16;
/// Time limit of a look-up if there is no other.
const LONGEST: Duration = Duration::from_secs(30);

/// Uses the system's resolver. The client's own resolver creates a thread per look-up, and panics if it
/// cannot.
#[derive(Debug, Default)]
pub struct Names;

impl Resolver for Names {
    fn resolve(&self, uri: &Uri, _: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let bad = || Error::BadUri(uri.to_string());
        let authority = uri.authority().ok_or_else(bad)?;
        let at = DefaultResolver::host_and_port(uri.scheme().ok_or_else(bad)?, authority).ok_or_else(bad)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let found = match host.parse::<IpAddr>() {
            Ok(_) => at.to_socket_addrs()?.collect(),
            Err(_) => ask(at, &timeout)?,
        };
        if found.is_empty() {
            return Err(Error::HostNotFound);
        }
        let mut out = self.empty();
        found.into_iter().take(MAX_ADDRESSES).for_each(|a| out.push(a));
        Ok(out)
    }
}

fn ask(at: String, timeout: &NextTimeout) -> Result<Vec<SocketAddr>, Error> {
    let (tell, answer) = sync_channel(1);
    let look_up = move || {
        let found = at.to_socket_addrs().map(Iterator::collect::<Vec<_>>);
        // The receiver may have timed out.
        let _told = tell.try_send(found);
    };
    NAMES.submit(look_up).map_err(|e| Error::Io(e.into()))?;
    let limit = if timeout.after.is_not_happening() { LONGEST } else { *timeout.after };
    match answer.recv_timeout(limit) {
        Ok(found) => Ok(found?),
        Err(RecvTimeoutError::Timeout) => Err(Error::Timeout(timeout.reason)),
        Err(RecvTimeoutError::Disconnected) => Err(Error::HostNotFound),
    }
}
