//! The configuration: its sections, their types and defaults.

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

/// Everything an operator can set. Built only by [`load()`](super::load()), so every value has passed its checks.
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
    /// SIP.
    pub sip: Sip,
    /// Domain name service.
    pub dns: Dns,
    /// Media.
    pub rtp: Rtp,
    /// Rooms.
    pub rooms: Rooms,
    /// Prompts.
    pub prompts: Prompts,
    /// What outlives a restart.
    pub outbox: Outbox,
    /// Recordings.
    pub recording: Recording,
    /// Uploads of recordings.
    pub s3: S3,
    /// Events.
    pub events: Events,
    /// The global webhook.
    pub webhook: Webhook,
    /// Addresses that URLs of API clients may lead to beyond the public ones.
    pub security: Security,
    /// Log output.
    pub log: Log,
    /// What the box can carry; from the board profile, each limit can be overridden.
    pub limits: board::Limits,
    /// The limits as the board profile gives them.
    pub profile_limits: board::Limits,
}

/// REST interface.
#[derive(Debug, Clone, PartialEq)]
pub struct Http {
    /// Address the API listens on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Bearer tokens; any one of them opens the API. Empty: no token needed.
    pub tokens: Vec<Secret>,
    /// File with further tokens, one a line; empty: none.
    pub token_file: String,
    /// Client networks that may connect; empty: all.
    pub allowed_ips: Vec<IpNet>,
    /// The operator trusts the LAN: listening beyond loopback without token or allow-list is meant.
    pub trust_lan: bool,
    /// Web origins that may call the API from a browser; empty: none but the API's own.
    pub cors_origins: Vec<String>,
    /// Names in `Host` that are answered without tokens, beside addresses, `localhost` and the machine's own name.
    pub hosts: Vec<String>,
}

/// SIP.
#[derive(Debug, Clone, PartialEq)]
pub struct Sip {
    /// Our address in Via, Contact and SDP, and the one that is bound; unspecified: all are bound and
    /// the address of the default route is given as ours.
    pub bind_ip: IpAddr,
    /// The same for IPv6 beside an IPv4 address; `None`: no second family.
    pub bind_ip6: Option<IpAddr>,
    /// Address that is bound, where it differs from the one we give as ours.
    pub listen_ip: Option<IpAddr>,
    /// Port of UDP and TCP; 0 takes a free one.
    pub port: u16,
    /// Our name: user part and display name of From, `User-Agent`, `Warning`.
    pub host: String,
    /// Networks whose calls are taken.
    pub accept_from: Vec<IpNet>,
    /// What a router in front of us turns our address into; `None`: nothing does, or nobody beyond it is called.
    pub external_ip: Option<IpAddr>,
    /// Requests in a dialog go back the way it came, whatever Contact says.
    pub source_socket: bool,
    /// Send 180 as soon as a call comes in.
    pub auto_ringing: bool,
    /// Longest time an inbound call rings, seconds.
    pub ring_timeout_s: u32,
    /// Time that running calls have to end after SIGTERM, seconds.
    pub drain_s: u32,
    /// Length of a session that our calls ask for, seconds; 0: none is asked for.
    pub session_expires_s: u32,
    /// Carry out transfers that far ends ask for.
    pub refer_auto_dial: bool,
    /// Longest time an API call waits for the far end's answer, seconds.
    pub api_wait_s: u32,
    /// Codecs offered and answered, best first.
    pub codecs: Vec<Codec>,
    /// SIP over TLS.
    pub tls: Tls,
    /// Encryption of media where a trunk does not say.
    pub srtp: Srtp,
    /// Offer media keys over UDP and TCP too, where everybody on the way can read them.
    pub srtp_keys_in_clear: bool,
    /// How digits are sent where a trunk does not say.
    pub dtmf: DtmfMode,
    /// Domains whose users are ours, first the one that addresses are written with.
    pub domains: Vec<String>,
    /// Which algorithm our challenges name first.
    pub digest_order: DigestOrder,
    /// What our challenges say the password is for; empty: the first domain, or our name.
    pub realm: String,
    /// Trunks of the file.
    pub trunks: Vec<Trunk>,
    /// Phones that may register.
    pub users: Vec<User>,
}

/// Which algorithm stands first in our challenges: many phones look at the first one only (RFC 8760 §2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DigestOrder {
    /// The better one.
    Sha256First,
    /// For phones that know MD5 only, and look no further.
    Md5First,
}

impl DigestOrder {
    /// All, by name.
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
    /// Port that is listened on where there is a certificate.
    pub port: u16,
    /// Our certificate and what leads to its root; empty: TLS is only called with, not listened on.
    pub cert: String,
    /// Its key.
    pub key: String,
    /// Authorities that are trusted beside the public ones; empty: none.
    pub ca: String,
    /// Authorities of the certificates that callers have to show; empty: they need none.
    pub client_ca: String,
    /// A certificate for `*.example.net` is good for all names one label longer.
    pub allow_wildcard: bool,
}

/// Name servers of the configuration, at most: more would only make a name that nobody knows slower.
pub const MAX_NAME_SERVERS: usize = 8;

/// Domain name service.
#[derive(Debug, Clone, PartialEq)]
pub struct Dns {
    /// Servers to ask, at most [`MAX_NAME_SERVERS`]; empty: those of the system.
    pub servers: Vec<SocketAddr>,
}

/// Media.
#[derive(Debug, Clone, PartialEq)]
pub struct Rtp {
    /// First port of the range RTP and RTCP use; 0 with `port_max` 0: any free ports.
    pub port_min: u16,
    /// Last port of the range.
    pub port_max: u16,
    /// A leg ends when nothing came for this long, seconds.
    pub timeout_s: u32,
    /// SCHED_FIFO priority of the media thread, where the system allows it; 0: none.
    pub realtime_priority: u32,
    /// Processor that the media thread keeps to, from 0; `None`: any.
    pub media_core: Option<u32>,
    /// How hard the Opus encoder tries, 0 to 10.
    pub opus_complexity: u32,
}

/// `[outbox]`: events that wait for a target that is away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbox {
    /// Room for them, MB.
    pub max_mb: u32,
    /// How long they are kept, hours.
    pub keep_h: u32,
}

/// Rooms.
#[derive(Debug, Clone, PartialEq)]
pub struct Rooms {
    /// Sampling rate of rooms that name none, Hz.
    pub sample_rate: u32,
    /// A faint noise while nobody in a room says anything.
    pub comfort_noise: bool,
}

/// Prompts.
#[derive(Debug, Clone, PartialEq)]
pub struct Prompts {
    /// Directory of the sounds that can be played by name; empty: there are none.
    pub dir: String,
}

/// Recordings.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// Directory of the files; empty: `recordings` in the state directory.
    pub dir: String,
    /// Free space that recordings leave alone, MB.
    pub min_free_mb: u32,
    /// Days that recordings are kept; 0: for ever.
    pub keep_days: u32,
    /// Room that recordings may take, MB; 0: as much as there is.
    pub max_mb: u32,
}

/// The global webhook.
#[derive(Debug, Clone, PartialEq)]
pub struct Webhook {
    /// Where events go that have no webhook of their own; empty: nowhere.
    pub url: String,
    /// Signing secret; empty: not signed.
    pub secret: Secret,
    /// File that holds the secret instead; empty: none.
    pub secret_file: String,
}

/// Safety of what API clients name.
#[derive(Debug, Clone, PartialEq)]
pub struct Security {
    /// Networks that URLs of API clients may lead to although they are not public.
    pub url_allow: Vec<IpNet>,
}

/// Events.
#[derive(Debug, Clone, PartialEq)]
pub struct Events {
    /// Type of the event of a received digit.
    pub dtmf_type: String,
    /// Events when somebody begins to speak and when he stops.
    pub speaking: bool,
}

/// Log output.
#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    /// Least level that is written.
    pub level: log::LevelFilter,
}

/// Names a received digit's event can have: the specification's, and the reference product's.
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

    /// What our challenges say the password is for.
    #[must_use]
    pub fn realm(&self) -> &str {
        let domain = self.sip.domains.first().unwrap_or(&self.sip.host);
        if self.sip.realm.is_empty() { domain } else { &self.sip.realm }
    }
}
