//! API client of the commands.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::ArgMatches;
use serde_json::Value;
use ureq::http::StatusCode;
use ureq::{Agent, Body, RequestBuilder, http};

use super::configuration::Files;
use crate::config::Config;

/// Time limit of a reply.
const PATIENCE: Duration = Duration::from_secs(40);

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The gateway responds, but refuses (4xx, or 503 for a limit). Otherwise it does not respond, or has
    /// failed.
    pub refused: bool,
    /// One-line error text.
    pub text: String,
}

impl From<Refusal> for String {
    fn from(refusal: Refusal) -> Self {
        refusal.text
    }
}

/// API client.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
    base: String,
    token: Option<String>,
}

impl Client {
    /// For the gateway named by the arguments or the configuration.
    ///
    /// # Errors
    /// An unreadable file.
    pub fn of(files: &Files, of: &ArgMatches) -> Result<Self, String> {
        let url = of.get_one::<String>("url");
        // With address and token given, the configuration, which may not be readable by everyone, is not
        // needed.
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
        Ok(Self { agent: agent(), base, token })
    }

    /// For a gateway on this machine without token.
    #[must_use]
    pub fn at(address: &str) -> Self {
        Self { agent: agent(), base: format!("http://{address}"), token: None }
    }

    /// True if a gateway responds there.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        let address = self.base.strip_prefix("http://").and_then(|at| at.parse::<SocketAddr>().ok());
        address.is_some_and(|at| std::net::TcpStream::connect_timeout(&at, Duration::from_secs(2)).is_ok())
    }

    /// `GET` of a path below `/v1`.
    ///
    /// # Errors
    /// No response, or an error: its text.
    pub fn get(&self, path: &str) -> Result<Value, Refusal> {
        self.read(self.authorized(self.agent.get(self.url(path))).call())
    }

    /// `POST` to a path below `/v1`.
    ///
    /// # Errors
    /// As for [`Self::get`].
    pub fn post(&self, path: &str, body: &Value) -> Result<Value, Refusal> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = self.authorized(self.agent.post(self.url(path)));
        self.read(request.header("Content-Type", "application/json").send(body))
    }

    /// `DELETE` of a path below `/v1`.
    ///
    /// # Errors
    /// As for [`Self::get`].
    pub fn delete(&self, path: &str) -> Result<Value, Refusal> {
        self.read(self.authorized(self.agent.delete(self.url(path))).call())
    }

    fn url(&self, path: &str) -> String {
        format!("{}/v1{path}", self.base)
    }

    fn authorized<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match &self.token {
            Some(token) => request.header("Authorization", format!("Bearer {token}")),
            None => request,
        }
    }

    fn read(&self, answer: Result<http::Response<Body>, ureq::Error>) -> Result<Value, Refusal> {
        let refusal = |refused, text| Refusal { refused, text };
        let mut answer = answer.map_err(|e| {
            let base = &self.base;
            refusal(
                false,
                format!("no gateway answers at {base}: {e}; does it run (systemctl status branchline)?"),
            )
        })?;
        let status = answer.status();
        let body = answer.body_mut().read_to_string();
        let body = body.map_err(|e| refusal(false, format!("{}: {e}", self.base)))?;
        if status == StatusCode::UNAUTHORIZED {
            let text = format!("{}: the API wants a token: run as root, or give --token-file", self.base);
            return Err(refusal(true, text));
        }
        let json: Value = serde_json::from_str(&body).unwrap_or_default();
        if !status.is_success() {
            let why = json.get("error").and_then(Value::as_str).unwrap_or("no reason was given");
            // 503 means that it works but has no capacity.
            let refused = !status.is_server_error() || status == StatusCode::SERVICE_UNAVAILABLE;
            return Err(refusal(refused, format!("{}: {status}: {why}", self.base)));
        }
        Ok(json)
    }
}

fn agent() -> Agent {
    Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .http_status_as_error(false)
        .proxy(None)
        .build()
        .into()
}

/// The address at which the API can be reached from this machine.
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
