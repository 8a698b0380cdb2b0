//! Settings: types and defaults here, one table of keys in [`settings`], files and environment in [`load`].

pub mod board;
pub mod load;
pub mod settings;
pub mod value;

use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;

pub use board::Board;
pub use load::{Fault, Sources, load};

/// Everything an operator can set. Built only by [`load()`], so every value has passed its checks.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Name of the board profile in force.
    pub board: String,
    /// Where the gateway keeps what must survive a restart.
    pub state_dir: PathBuf,
    /// Name of this gateway in replies and events; empty: made once and kept in the state directory.
    pub instance_id: String,
    /// REST interface.
    pub http: Http,
    /// Log output.
    pub log: Log,
    /// What the box can carry; from the board profile, each limit can be overridden.
    pub limits: board::Limits,
}

/// REST interface.
#[derive(Debug, Clone, PartialEq)]
pub struct Http {
    /// Address the API listens on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Bearer tokens; any one of them opens the API. Empty: no token needed.
    pub tokens: Vec<String>,
    /// Client networks that may connect; empty: all.
    pub allowed_ips: Vec<IpNet>,
    /// The operator trusts the LAN: listening beyond loopback without token or allow-list is meant.
    pub trust_lan: bool,
    /// Web origins that may call the API from a browser; empty: no CORS headers.
    pub cors_origins: Vec<String>,
}

/// Log output.
#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    /// Least level that is written.
    pub level: log::LevelFilter,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            board: board::GENERIC.to_owned(),
            state_dir: PathBuf::from("./var"),
            instance_id: String::new(),
            http: Http {
                listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
                tokens: Vec::new(),
                allowed_ips: Vec::new(),
                trust_lan: false,
                cors_origins: Vec::new(),
            },
            log: Log { level: log::LevelFilter::Info },
            limits: board::Limits::default(),
        }
    }
}

impl Config {
    /// Rules that concern several settings at once; one message a broken rule.
    #[must_use]
    pub fn conflicts(&self) -> Vec<String> {
        let mut out = Vec::new();
        let guarded =
            !self.http.tokens.is_empty() || !self.http.allowed_ips.is_empty() || self.http.trust_lan;
        if !self.http.listen.ip().is_loopback() && !guarded {
            out.push(format!(
                "http.listen = \"{}\" is reachable from the network, but nothing guards the API: set http.tokens \
                 (API_TOKEN) or http.allowed_ips (ALLOWED_IPS), or say http.trust_lan = true (TRUST_LAN)",
                self.http.listen
            ));
        }
        out
    }
}
