//! The API of a gateway on this machine, as the commands use it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::ArgMatches;
use serde_json::Value;
use ureq::http::StatusCode;
use ureq::{Agent, Body, http};

use super::configuration::Files;
use crate::config::Config;

/// Longest a reply may take.
const PATIENCE: Duration = Duration::from_secs(40);

/// A way to the API.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
    base: String,
    token: Option<String>,
}

impl Client {
    /// The gateway that the arguments name, or that the configuration is of.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn of(files: &Files, of: &ArgMatches) -> Result<Self, String> {
        let url = of.get_one::<String>("url");
        // With an address and a token of its own nothing of the configuration is needed, which not everybody may read.
        let config = match url {
            Some(_) => None,
            None => Some(files.load()?.config),
        };
        let base = match (url, &config) {
            (Some(url), _) => url.trim_end_matches('/').to_owned(),
            (None, Some(config)) => format!("http://{}", listens_at(config)),
            (None, None) => String::new(),
        };
        let token = match of.get_one::<PathBuf>("token-file") {
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
                text.lines().next().map(str::to_owned)
            }
            None => config.and_then(|c| c.http.tokens.first().map(|t| t.reveal().to_owned())),
        };
        let agent = Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            .proxy(None)
            .build()
            .into();
        Ok(Self { agent, base, token })
    }

    /// `GET` of a path below `/v1`.
    ///
    /// # Errors
    /// Nobody answers there, or the answer is an error: its text.
    pub fn get(&self, path: &str) -> Result<Value, String> {
        let request = self.agent.get(format!("{}/v1{path}", self.base));
        let request = match &self.token {
            Some(token) => request.header("Authorization", format!("Bearer {token}")),
            None => request,
        };
        self.read(request.call())
    }

    fn read(&self, answer: Result<http::Response<Body>, ureq::Error>) -> Result<Value, String> {
        let mut answer = answer.map_err(|e| {
            format!("no gateway answers at {}: {e}; does it run (systemctl status branchline)?", self.base)
        })?;
        let status = answer.status();
        let body = answer.body_mut().read_to_string().map_err(|e| format!("{}: {e}", self.base))?;
        if status == StatusCode::UNAUTHORIZED {
            return Err(format!("{}: the API wants a token: run as root, or give --token-file", self.base));
        }
        let json: Value = serde_json::from_str(&body).unwrap_or_default();
        if !status.is_success() {
            let why = json.get("error").and_then(Value::as_str).unwrap_or("no reason was given");
            return Err(format!("{}: {status}: {why}", self.base));
        }
        Ok(json)
    }
}

/// The address that the API can be reached at from this machine.
fn listens_at(config: &Config) -> SocketAddr {
    let told = std::fs::read(config.state_dir.join("listen.json")).ok();
    let told: Option<Value> = told.and_then(|text| serde_json::from_slice(&text).ok());
    let told = told.and_then(|json| json.get("http")?.as_str()?.parse().ok());
    let mut at: SocketAddr = told.unwrap_or(config.http.listen);
    if at.ip().is_unspecified() {
        at.set_ip(if at.is_ipv4() {
            std::net::Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    at
}
