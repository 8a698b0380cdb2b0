//! Sections of the configuration with types and defaults.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

use super::board;
use super::dtmf::DtmfMode;
use super::networks::HOME_NETWORKS;
use super::s3::S3;
use super::trunk::{Trunk, User};
use super::value::{Raw, Value, named, nets, show_named};
use crate::base::secret::Secret;
use crate::codec::Codec;
use crate::wire::crypto::Srtp;

/// All settings. Built only by [`load()`](super::load()), so every value has been validated.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Name of the active board profile.
    pub board: String,
    /// Directory for persistent state.
    pub state_dir: PathBuf,
    /// Name of this gateway in responses and events; empty: generated once and stored in the state directory.
    pub instance_id: String,
    /// REST API.
    pub http: Http,
    /// SIP.
    pub sip: Sip,
    /// Domain name service.
    pub dns: Dns,
    /// Media.
    pub rtp: Rtp,
    /// Rooms.
    pub rooms: Rooms,
    /// Sound files.
    pub prompts: Prompts,
    /// Event queue that survives restarts.
    pub outbox: Outbox,
    /// Recordings.
    pub recording: Recording,
    /// Uploads of recordings.
    pub s3: S3,
    /// Events.
    pub events: Events,
    /// The global webhook.
    pub webhook: Webhook,
    /// Non-public networks that URLs of API clients may point to.
    pub security: Security,
    /// Log output.
    pub log: Log,
    /// Capacity limits: from the board profile, each can be overridden.
    pub limits: board::Limits,
    /// Limits of the board profile, without overrides.
    pub profile_limits: board::Limits,
}

/// REST API.
#[derive(Debug, Clone, PartialEq)]
pub struct Http {
    /// Address the API listens on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Bearer tokens; any one of them grants access. Empty: no token required.
    pub tokens: Vec<Secret>,
    /// File with further tokens, one per line; empty: none.
    pub token_file: String,
    /// Client networks that may connect; empty: all.
    pub allowed_ips: Vec<IpNet>,
    /// The LAN is trusted: the API may listen beyond loopback without tokens or allow-list.
    pub trust_lan: bool,
    /// Web origins that may call the API from a browser; empty: only the API's own.
    pub cors_origins: Vec<String>,
    /// Names accepted in `Host` without tokens, besides addresses, `localhost` and the machine's own name.
    pub hosts: Vec<String>,
}

/// SIP.
#[derive(Debug, Clone, PartialEq)]
pub struct Sip {
    /// Our address: bound, and announced in Via, Contact and SDP; unspecified: binds all interfaces and
    /// announces the address of the default route.
    pub bind_ip: IpAddr,
    /// IPv6 address beside an IPv4 `bind_ip`; `None`: one family only.
    pub bind_ip6: Option<IpAddr>,
    /// Address to bind if it differs from the announced one.
    pub listen_ip: Option<IpAddr>,
    /// Port of UDP and TCP; 0: any free port.
    pub port: u16,
    /// Our name: user part and display name of From, `User-Agent`, `Warning`.
    pub host: String,
    /// Networks from which requests are accepted.
    pub accept_from: Vec<IpNet>,
    /// Public address if the gateway is behind NAT; `None`: no NAT, or no calls beyond it.
    pub external_ip: Option<IpAddr>,
    /// Send in-dialog requests to the source address of the call instead of its Contact.
    pub source_socket: bool,
    /// Send 180 as soon as a call arrives.
    pub auto_ringing: bool,
    /// Longest ringing time of an inbound call, seconds.
    pub ring_timeout_s: u32,
    /// Time that active calls have to end after SIGTERM, seconds.
    pub drain_s: u32,
    /// Session interval our calls request, seconds; 0: none.
    pub session_expires_s: u32,
    /// Carry out transfers requested by far ends (REFER).
    pub refer_auto_dial: bool,
    /// Longest time an API request waits for the far end's response, seconds.
    pub api_wait_s: u32,
    /// Codecs offered and accepted, in order of preference.
    pub codecs: Vec<Codec>,
    /// SIP over TLS.
    pub tls: Tls,
    /// Media encryption where a trunk does not override it.
    pub srtp: Srtp,
    /// Offer SRTP keys over UDP and TCP too, where anyone on the path can read them.
    pub srtp_keys_in_clear: bool,
    /// DTMF mode where a trunk does not override it.
    pub dtmf: DtmfMode,
    /// Our SIP domains; the first one is used when writing addresses.
    pub domains: Vec<String>,
    /// Digest algorithm listed first in our challenges.
    pub digest_order: DigestOrder,
    /// Digest realm; empty: the first domain, or our name.
    pub realm: String,
    /// Trunks of the configuration file.
    pub trunks: Vec<Trunk>,
    /// Phones that may register.
    pub users: Vec<User>,
}

/// Order of digest algorithms in our challenges: many phones evaluate only the first one (RFC 8760 §2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DigestOrder {
    /// SHA-256 first.
    Sha256First,
    /// MD5 first, for phones that support only MD5 and ignore further challenges.
    Md5First,
}

impl DigestOrder {
    /// All orders by name.
    pub const ALL: [(&'static str, Self); 2] =
        [("sha256_first", Self::Sha256First), ("md5_first", Self::Md5First)];
}

impl Value for DigestOrder {
    fn read(raw: &Raw) -> Result<Self, String> {
        named(raw, &Self::ALL, "one of sha256_first, md5_first")
    }
    fn show(&self) -> String {
        show_named(self, &Self::ALL)
    }
}

/// SIP over TLS; PEM files.
#[derive(Debug, Clone, PartialEq)]
pub struct Tls {
    /// Port to listen on if there is a certificate.
    pub port: u16,
    /// Our certificate chain; empty: TLS for outgoing connections only.
    pub cert: String,
    /// Private key of the certificate.
    pub key: String,
    /// CA certificates trusted in addition to the public ones; empty: none.
    pub ca: String,
    /// CA certificates for client certificates; empty: none required.
    pub client_ca: String,
    /// Accept a wildcard certificate `*.example.net` for names one label longer.
    pub allow_wildcard: bool,
}

/// Most name servers in the configuration: more would only delay failing look-ups.
pub const MAX_NAME_SERVERS: usize = 8;

/// DNS.
#[derive(Debug, Clone, PartialEq)]
pub struct Dns {
    /// Servers to query, at most [`MAX_NAME_SERVERS`]; empty: those of the system.
    pub servers: Vec<SocketAddr>,
}

/// Media.
#[derive(Debug, Clone, PartialEq)]
pub struct Rtp {
    /// First port of the RTP and RTCP range; 0 with `port_max` 0: any free ports.
    pub port_min: u16,
    /// Last port of the range.
    pub port_max: u16,
    /// A leg ends when no RTP was received for this long, seconds.
    pub timeout_s: u32,
    /// SCHED_FIFO priority of the media thread, if permitted by the system; 0: none.
    pub realtime_priority: u32,
    /// CPU that the media thread is pinned to, from 0; `None`: any.
    pub media_core: Option<u32>,
    /// Opus encoder complexity, 0 to 10.
    pub opus_complexity: u32,
}

/// `[outbox]`: events waiting for an unreachable destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbox {
    /// Space for them, MB.
    pub max_mb: u32,
    /// How long they are kept, hours.
    pub keep_h: u32,
}

/// Rooms.
#[derive(Debug, Clone, PartialEq)]
pub struct Rooms {
    /// Default sampling rate, Hz.
    pub sample_rate: u32,
    /// Comfort noise while a room is silent.
    pub comfort_noise: bool,
}

/// Sound files.
#[derive(Debug, Clone, PartialEq)]
pub struct Prompts {
    /// Directory of sound files that can be played by name; empty: none.
    pub dir: String,
}

/// Recordings.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// Directory of the files; empty: `recordings` in the state directory.
    pub dir: String,
    /// Free disk space that recordings must leave, MB.
    pub min_free_mb: u32,
    /// Days that recordings are kept; 0: forever.
    pub keep_days: u32,
    /// Space for all recordings, MB; 0: unlimited.
    pub max_mb: u32,
}

/// The global webhook.
#[derive(Debug, Clone, PartialEq)]
pub struct Webhook {
    /// Destination of events without their own webhook; empty: none.
    pub url: String,
    /// Signing secret; empty: not signed.
    pub secret: Secret,
    /// File with the secret instead; empty: none.
    pub secret_file: String,
}

/// Restrictions on URLs of API clients.
#[derive(Debug, Clone, PartialEq)]
pub struct Security {
    /// Non-public networks that URLs of API clients may point to.
    pub url_allow: Vec<IpNet>,
}

/// Events.
#[derive(Debug, Clone, PartialEq)]
pub struct Events {
    /// Event type of a received DTMF digit.
    pub dtmf_type: String,
    /// Send events when a party starts and stops speaking.
    pub speaking: bool,
}

/// Log output.
#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    /// Minimum level written.
    pub level: log::LevelFilter,
}

/// Allowed event types of a received digit: the specification's, and the reference product's.
pub const DTMF_TYPES: [&str; 2] = ["leg.dtmf", "dtmf.received"];

impl Default for Config {
    fn default() -> Self {
        Self {
            board: board::GENERIC.to_owned(),
            state_dir: PathBuf::from("./var"),
            instance_id: String::new(),
            http: Http {
                listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
                tokens: Vec::new(),
                token_file: String::new(),
                allowed_ips: Vec::new(),
                trust_lan: false,
                cors_origins: Vec::new(),
                hosts: Vec::new(),
            },
            sip: Sip {
                bind_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
                bind_ip6: None,
                listen_ip: None,
                port: 5060,
                host: "branchline".to_owned(),
                accept_from: nets(HOME_NETWORKS),
                external_ip: None,
                source_socket: false,
                auto_ringing: true,
                ring_timeout_s: 120,
                drain_s: 30,
                session_expires_s: 0,
                refer_auto_dial: false,
                api_wait_s: 10,
                codecs: Codec::ALL.to_vec(),
                tls: Tls {
                    port: 5061,
                    cert: String::new(),
                    key: String::new(),
                    ca: String::new(),
                    client_ca: String::new(),
                    allow_wildcard: false,
                },
                srtp: Srtp::Optional,
                srtp_keys_in_clear: false,
                dtmf: DtmfMode::Auto,
                domains: Vec::new(),
                realm: String::new(),
                digest_order: DigestOrder::Sha256First,
                trunks: Vec::new(),
                users: Vec::new(),
            },
            dns: Dns { servers: Vec::new() },
            rtp: Rtp {
                port_min: 10_000,
                port_max: 20_000,
                timeout_s: 30,
                realtime_priority: 10,
                media_core: None,
                opus_complexity: 5,
            },
            rooms: Rooms { sample_rate: 16_000, comfort_noise: true },
            prompts: Prompts { dir: String::new() },
            outbox: Outbox { max_mb: 64, keep_h: 96 },
            recording: Recording { dir: String::new(), min_free_mb: 32, keep_days: 0, max_mb: 0 },
            s3: S3::default(),
            webhook: Webhook { url: String::new(), secret: Secret::default(), secret_file: String::new() },
            security: Security { url_allow: Vec::new() },
            events: Events { dtmf_type: DTMF_TYPES[0].to_owned(), speaking: true },
            log: Log { level: log::LevelFilter::Info },
            limits: board::Limits::default(),
            profile_limits: board::Limits::default(),
        }
    }
}

impl Config {
    /// Directory of the recordings.
    #[must_use]
    pub fn recording_dir(&self) -> PathBuf {
        match self.recording.dir.as_str() {
            "" => self.state_dir.join("recordings"),
            dir => PathBuf::from(dir),
        }
    }

    /// Digest realm of our challenges.
    #[must_use]
    pub fn realm(&self) -> &str {
        let domain = self.sip.domains.first().unwrap_or(&self.sip.host);
        if self.sip.realm.is_empty() { domain } else { &self.sip.realm }
    }
}
