//! The table of settings: key, environment variables, range, and field of [`Config`].

use super::s3;
use super::sections::{Config, DTMF_TYPES};
use super::value::{Raw, Value};

/// One setting.
pub struct Setting {
    /// Dotted key in the file, as `http.listen`.
    pub key: &'static str,
    /// Environment variables that set it; the first one present and not empty wins.
    pub env: &'static [&'static str],
    /// Parses a value into the configuration, or returns what was expected.
    pub set: fn(&mut Config, &Raw) -> Result<(), String>,
    /// The effective value as TOML; of secrets, only whether one is set.
    pub show: fn(&Config) -> String,
    /// True if both configurations have the same value, secrets included.
    pub same: fn(&Config, &Config) -> bool,
    /// Copies the value from another configuration.
    pub copy: fn(&mut Config, &Config),
}

macro_rules! setting {
    ($key:literal, [$($env:literal),*], $($field:ident).+) => {
        setting!(@ $key, [$($env),*], $($field).+, |_| Ok(()))
    };
    ($key:literal, [$($env:literal),*], $($field:ident).+, in $check:expr) => {
        setting!(@ $key, [$($env),*], $($field).+, $check)
    };
    ($key:literal, [$($env:literal),*], $($field:ident).+, $range:expr) => {
        setting!(@ $key, [$($env),*], $($field).+, |v| in_range(v, &$range))
    };
    (@ $key:literal, [$($env:literal),*], $($field:ident).+, $check:expr) => {
        Setting {
            key: $key,
            env: &[$($env),*],
            set: |c, raw| {
                let mut read = c.$($field).+.clone();
                assign(&mut read, raw)?;
                checked(&read, $check)?;
                c.$($field).+ = read;
                Ok(())
            },
            show: |c| c.$($field).+.show(),
            same: |a, b| a.$($field).+ == b.$($field).+,
            copy: |to, from| to.$($field).+.clone_from(&from.$($field).+),
        }
    };
}

fn assign<T: Value>(to: &mut T, raw: &Raw) -> Result<(), String> {
    *to = T::read(raw)?;
    Ok(())
}

fn checked<T>(v: &T, check: impl Fn(&T) -> Result<(), String>) -> Result<(), String> {
    check(v)
}

fn sip_name(name: &str) -> Result<(), String> {
    if !name.is_empty() && name.bytes().all(crate::config::value::is_name_byte) {
        return Ok(());
    }
    Err(format!("\"{name}\" is not a name: letters, digits, - . and _ are allowed"))
}

fn domain(name: &str) -> Result<(), String> {
    crate::wire::uri::host_port_of(name)
        .ok()
        .filter(|(_, port)| port.is_none())
        .map(|_| ())
        .ok_or(format!("\"{name}\" is not a domain, as \"branch.example\" or \"192.168.1.10\""))
}

/// The form browsers send, otherwise it would never match (RFC 6454 §6.2).
fn origin(text: &str) -> Result<(), String> {
    let plain =
        |at: &str| !at.is_empty() && at.bytes().all(|b| b.is_ascii_graphic() && !b"/?#@*,".contains(&b));
    if text == "null" || text.split_once("://").is_some_and(|(scheme, at)| !scheme.is_empty() && plain(at)) {
        return Ok(());
    }
    Err(format!(
        "\"{text}\" is not an origin, as \"https://panel.example\" or \"http://10.0.0.7:3000\", without a path"
    ))
}

fn realm(name: &str) -> Result<(), String> {
    if name.len() <= 64 && name.bytes().all(|b| (b' '..=b'~').contains(&b) && !b"\"\\:".contains(&b)) {
        return Ok(());
    }
    Err("at most 64 printable ASCII characters, no quotes, colons or backslashes".to_owned())
}

fn dtmf_type(name: &str) -> Result<(), String> {
    if DTMF_TYPES.contains(&name) {
        return Ok(());
    }
    Err(format!("\"{name}\" is not one of {}", DTMF_TYPES.join(", ")))
}

fn hook_url(url: &str) -> Result<(), String> {
    if url.is_empty() || url.starts_with("http://") || url.starts_with("https://") {
        return Ok(());
    }
    Err("must start with http:// or https://".to_owned())
}

fn session_length(seconds: u32) -> Result<(), String> {
    if seconds == 0 || (90..=86_400).contains(&seconds) {
        return Ok(());
    }
    Err(format!("{seconds} is neither 0 nor 90 to 86400"))
}

fn room_rate(rate: &u32) -> Result<(), String> {
    if [8000, 16_000, 48_000].contains(rate) {
        return Ok(());
    }
    Err(format!("{rate} is not one of 8000, 16000, 48000"))
}

/// CPU number, up to the size of the kernel's CPU mask.
fn core(core: &Option<u32>) -> Result<(), String> {
    core.map_or(Ok(()), |core| in_range(&core, &(0..=1023)))
}

fn in_range<T: PartialOrd + std::fmt::Display>(v: &T, r: &std::ops::RangeInclusive<T>) -> Result<(), String> {
    if r.contains(v) {
        return Ok(());
    }
    Err(format!("{v} is out of range: {} to {} is allowed", r.start(), r.end()))
}

/// All settings, in the order of the shipped file.
pub static SETTINGS: &[Setting] = &[
    setting!("board", ["BOARD"], board),
    setting!("state_dir", ["STATE_DIR", "STATE_DIRECTORY"], state_dir),
    setting!("instance_id", ["INSTANCE_ID"], instance_id),
    setting!("http.listen", ["HTTP_ADDR"], http.listen),
    setting!("http.tokens", ["API_TOKEN"], http.tokens),
    setting!("http.token_file", [], http.token_file),
    setting!("http.allowed_ips", ["ALLOWED_IPS"], http.allowed_ips),
    setting!("http.trust_lan", ["TRUST_LAN"], http.trust_lan),
    setting!("http.cors_origins", [], http.cors_origins, in |v: &Vec<String>| v.iter().try_for_each(|o| origin(o))),
    setting!("http.hosts", ["HTTP_HOSTS"], http.hosts, in |v: &Vec<String>| v.iter().try_for_each(|d| domain(d))),
    setting!("sip.bind_ip", ["SIP_BIND_IP"], sip.bind_ip),
    setting!("sip.bind_ip6", ["SIP_BIND_IPV6"], sip.bind_ip6),
    setting!("sip.listen_ip", ["SIP_LISTEN_IP"], sip.listen_ip),
    setting!("sip.port", ["SIP_PORT"], sip.port),
    setting!("sip.host", ["SIP_HOST"], sip.host, in |v: &String| sip_name(v)),
    setting!("sip.accept_from", ["SIP_ACCEPT_FROM"], sip.accept_from),
    setting!("sip.external_ip", ["SIP_EXTERNAL_IP"], sip.external_ip),
    setting!("sip.source_socket", ["SIP_USE_SOURCE_SOCKET"], sip.source_socket),
    setting!("sip.auto_ringing", [], sip.auto_ringing),
    setting!("sip.ring_timeout_s", [], sip.ring_timeout_s, 1..=3600),
    setting!("sip.drain_s", [], sip.drain_s, 0..=3600),
    setting!("sip.session_expires_s", [], sip.session_expires_s, in |v: &u32| session_length(*v)),
    setting!("sip.refer_auto_dial", ["SIP_REFER_AUTO_DIAL"], sip.refer_auto_dial),
    setting!("sip.api_wait_s", [], sip.api_wait_s, 1..=30),
    setting!("sip.codecs", [], sip.codecs),
    setting!("sip.srtp", [], sip.srtp),
    setting!("sip.srtp_keys_in_clear", [], sip.srtp_keys_in_clear),
    setting!("sip.dtmf", [], sip.dtmf),
    setting!("sip.domains", ["SIP_DOMAINS"], sip.domains, in |v: &Vec<String>| v.iter().try_for_each(|d| domain(d))),
    setting!("sip.realm", ["SIP_REALM"], sip.realm, in |v: &String| realm(v)),
    setting!("sip.digest_order", [], sip.digest_order),
    setting!("sip.tls.port", [], sip.tls.port),
    setting!("sip.tls.cert", [], sip.tls.cert),
    setting!("sip.tls.key", [], sip.tls.key),
    setting!("sip.tls.ca", [], sip.tls.ca),
    setting!("sip.tls.client_ca", [], sip.tls.client_ca),
    setting!("sip.tls.allow_wildcard", [], sip.tls.allow_wildcard),
    setting!("dns.servers", ["DNS_SERVERS"], dns.servers),
    setting!("rtp.port_min", ["RTP_PORT_MIN"], rtp.port_min),
    setting!("rtp.port_max", ["RTP_PORT_MAX"], rtp.port_max),
    setting!("rtp.timeout_s", [], rtp.timeout_s, 5..=3600),
    setting!("rtp.realtime_priority", [], rtp.realtime_priority, 0..=99),
    setting!("rtp.media_core", [], rtp.media_core, in core),
    setting!("rtp.opus_complexity", [], rtp.opus_complexity, 0..=10),
    setting!("rooms.sample_rate", [], rooms.sample_rate, in room_rate),
    setting!("rooms.comfort_noise", ["COMFORT_NOISE_ENABLED"], rooms.comfort_noise),
    setting!("prompts.dir", ["PROMPT_DIR"], prompts.dir),
    setting!("outbox.max_mb", [], outbox.max_mb, 1..=4096),
    setting!("outbox.keep_h", [], outbox.keep_h, 72..=8760),
    setting!("recording.dir", ["RECORDING_DIR"], recording.dir),
    setting!("recording.min_free_mb", [], recording.min_free_mb, 0..=1_048_576),
    setting!("recording.keep_days", [], recording.keep_days, 0..=36_500),
    setting!("recording.max_mb", [], recording.max_mb, 0..=1_073_741_824),
    setting!("s3.bucket", ["S3_BUCKET"], s3.bucket, in |v: &String| if v.is_empty() { Ok(()) } else { s3::bucket(v) }),
    setting!("s3.region", ["S3_REGION"], s3.region, in |v: &String| s3::region(v)),
    setting!("s3.endpoint", ["S3_ENDPOINT"], s3.endpoint, in |v: &String| s3::endpoint(v)),
    setting!("s3.prefix", ["S3_PREFIX"], s3.prefix, in |v: &String| s3::prefix(v)),
    setting!("s3.access_key", [], s3.access_key),
    setting!("s3.secret_key", [], s3.secret_key),
    setting!("s3.secret_key_file", [], s3.secret_key_file),
    setting!("s3.style", [], s3.style),
    setting!("s3.allow_http", ["S3_ALLOW_INSECURE_ENDPOINT"], s3.allow_http),
    setting!("s3.wait_s", [], s3.wait_s, 0..=30),
    setting!("s3.max_kbit_s", [], s3.max_kbit_s, 0..=10_000_000),
    setting!("webhook.url", ["WEBHOOK_URL"], webhook.url, in |v: &String| hook_url(v)),
    setting!("webhook.secret", ["WEBHOOK_SECRET"], webhook.secret),
    setting!("webhook.secret_file", [], webhook.secret_file),
    setting!("security.url_allow", ["URL_ALLOW"], security.url_allow),
    setting!("events.dtmf_type", [], events.dtmf_type, in |v: &String| dtmf_type(v)),
    setting!("events.speaking", [], events.speaking),
    setting!("log.level", ["LOG_LEVEL"], log.level),
    setting!("limits.legs", [], limits.legs, 1..=1024),
    setting!("limits.opus_legs", [], limits.opus_legs, 0..=1024),
    setting!("limits.rooms", [], limits.rooms, 1..=1024),
    setting!("limits.room_members", [], limits.room_members, 2..=64),
    setting!("limits.playbacks", [], limits.playbacks, 1..=1024),
    setting!("limits.recordings", [], limits.recordings, 1..=2048),
];

/// The setting with key `key`.
#[must_use]
pub fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|s| s.key == key)
}

/// The known key closest to a mistyped one, if close enough.
#[must_use]
pub fn nearest(key: &str) -> Option<&'static str> {
    let last = |k: &str| k.rsplit('.').next().unwrap_or_default().to_owned();
    let near = |known: &str| {
        let whole = strsim::damerau_levenshtein(key, known);
        // The right name in the wrong section also counts as close.
        if last(key) == last(known) { whole.min(1) } else { whole }
    };
    let best = SETTINGS.iter().map(|s| (near(s.key), s.key)).min()?;
    (best.0 <= key.len().div_ceil(3)).then_some(best.1)
}

/// The effective configuration as `key = value` lines, without secrets.
#[must_use]
pub fn print(config: &Config) -> String {
    let line = |s: &Setting| format!("{} = {}\n", s.key, (s.show)(config));
    let mut out: String = SETTINGS.iter().map(line).collect();
    let mut block = |head: &str, fields: &[(&str, &str)], secret: bool| {
        out.push_str(&format!("\n[[{head}]]\n"));
        for (key, value) in fields.iter().filter(|(_, v)| !v.is_empty()) {
            out.push_str(&format!("{key} = \"{}\"\n", value.escape_default()));
        }
        if secret {
            out.push_str("password = \"<hidden>\"\n");
        }
    };
    for t in config.sip.trunks.iter().map(|t| &t.fields) {
        let shown = [
            ("id", t.id.as_str()),
            ("type", &t.kind),
            ("app_id", &t.app_id),
            ("registrar_uri", &t.registrar_uri),
            ("aor", &t.aor),
            ("username", &t.username),
            ("password_file", &t.password_file),
            ("outbound_proxy", &t.outbound_proxy),
            ("contact_user", &t.contact_user),
            ("peer_uri", &t.peer_uri),
        ];
        block("sip.trunk", &shown, !t.password.is_empty());
    }
    for u in &config.sip.users {
        block(
            "sip.user",
            &[("name", &u.name), ("password_file", &u.password_file), ("app_id", &u.app_id)],
            true,
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistyped_keys_find_their_neighbour() {
        assert_eq!(nearest("http.lisen"), Some("http.listen"));
        assert_eq!(nearest("listen"), Some("http.listen"));
        assert_eq!(nearest("qqqq"), None);
    }

    #[test]
    fn ranges_are_named_in_the_error() {
        let mut c = Config::default();
        let set = find("limits.legs").unwrap().set;
        assert_eq!(set(&mut c, &Raw::Int(0)).unwrap_err(), "0 is out of range: 1 to 1024 is allowed");
        assert_eq!(
            set(&mut c, &Raw::Str("x".into())).unwrap_err(),
            "\"x\" is not a whole number of 0 or more"
        );
        assert!(set(&mut c, &Raw::Text("12".into())).is_ok());
        assert_eq!(c.limits.legs, 12);
    }

    #[test]
    fn secrets_are_not_printed() {
        let mut c = Config::default();
        assert!(print(&c).contains("http.tokens = []"));
        c.http.tokens = vec!["hunter2".into()];
        assert!(print(&c).contains("http.tokens = \"<hidden>\""));
        assert!(!print(&c).contains("hunter2"));
    }
}
