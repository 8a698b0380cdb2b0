//! Parsing of one setting from TOML or an environment variable, and formatting as TOML.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

use crate::base::secret::{EXPECTED, Secret};
use crate::codec::{Codec, KNOWN};
use crate::wire::crypto::Srtp;

/// A value in the form of its source.
#[derive(Debug, Clone, PartialEq)]
pub enum Raw {
    /// From the environment: text for every type.
    Text(String),
    /// A TOML string.
    Str(String),
    /// A TOML integer.
    Int(i64),
    /// A TOML boolean.
    Bool(bool),
    /// A TOML array of strings.
    List(Vec<String>),
    /// A TOML value of a type that no setting has; its type name.
    Other(String),
}

impl Raw {
    fn wrong(&self, wanted: &str) -> String {
        let got = match self {
            Self::Text(s) | Self::Str(s) => format!("\"{s}\""),
            Self::Int(n) => n.to_string(),
            Self::Bool(b) => b.to_string(),
            Self::List(_) => "a list".to_owned(),
            Self::Other(t) => t.clone(),
        };
        format!("{got} is not {wanted}")
    }
}

/// A type of settings.
pub trait Value: Sized {
    /// Parses the value, or returns what was expected.
    fn read(raw: &Raw) -> Result<Self, String>;
    /// Formats the value as TOML.
    fn show(&self) -> String;
}

fn quoted(s: &str) -> String {
    format!("\"{}\"", s.escape_default())
}

fn text<'a>(raw: &'a Raw, wanted: &str) -> Result<&'a str, String> {
    match raw {
        Raw::Text(s) | Raw::Str(s) => Ok(s),
        Raw::Int(_) | Raw::Bool(_) | Raw::List(_) | Raw::Other(_) => Err(raw.wrong(wanted)),
    }
}

/// The value of `all` that is named.
pub(super) fn named<T: Copy>(raw: &Raw, all: &[(&str, T)], wanted: &str) -> Result<T, String> {
    let name = text(raw, wanted)?;
    all.iter().find(|(n, _)| *n == name).map(|(_, v)| *v).ok_or_else(|| raw.wrong(wanted))
}

/// The name of a value in `all`.
pub(super) fn show_named<T: PartialEq>(value: &T, all: &[(&str, T)]) -> String {
    quoted(all.iter().find(|(_, v)| v == value).map_or("", |(n, _)| n))
}

fn items(raw: &Raw, wanted: &str) -> Result<Vec<String>, String> {
    match raw {
        Raw::Text(s) => {
            Ok(s.split(',').map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned).collect())
        }
        Raw::List(l) => Ok(l.clone()),
        Raw::Str(_) | Raw::Int(_) | Raw::Bool(_) | Raw::Other(_) => Err(raw.wrong(wanted)),
    }
}

fn list<T>(raw: &Raw, wanted: &str, one: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, String> {
    let read = |s: &String| one(s).ok_or_else(|| format!("\"{s}\" in the list is not {wanted}"));
    items(raw, &format!("a list: each {wanted}"))?.iter().map(read).collect()
}

fn show_list<T: ToString>(l: &[T]) -> String {
    let items: Vec<String> = l.iter().map(|i| quoted(&i.to_string())).collect();
    format!("[{}]", items.join(", "))
}

impl Value for String {
    fn read(raw: &Raw) -> Result<Self, String> {
        let s = text(raw, "a string")?;
        if s.chars().any(char::is_control) {
            return Err("control characters are not allowed".to_owned());
        }
        Ok(s.to_owned())
    }
    fn show(&self) -> String {
        quoted(self)
    }
}

impl Value for bool {
    fn read(raw: &Raw) -> Result<Self, String> {
        match raw {
            Raw::Bool(b) => Ok(*b),
            Raw::Text(s) if s == "true" || s == "1" => Ok(true),
            Raw::Text(s) if s == "false" || s == "0" => Ok(false),
            Raw::Text(_) | Raw::Str(_) | Raw::Int(_) | Raw::List(_) | Raw::Other(_) => {
                Err(raw.wrong("true or false"))
            }
        }
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for u32 {
    fn read(raw: &Raw) -> Result<Self, String> {
        let wanted = "a whole number of 0 or more";
        match raw {
            Raw::Int(n) => Self::try_from(*n).map_err(|_| raw.wrong(wanted)),
            Raw::Text(s) => s.parse().map_err(|_| raw.wrong(wanted)),
            Raw::Str(_) | Raw::Bool(_) | Raw::List(_) | Raw::Other(_) => Err(raw.wrong(wanted)),
        }
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for Option<u32> {
    fn read(raw: &Raw) -> Result<Self, String> {
        match raw {
            Raw::Text(s) | Raw::Str(s) if s.is_empty() => Ok(None),
            Raw::Int(_) | Raw::Text(_) => u32::read(raw).map(Some),
            Raw::Str(_) | Raw::Bool(_) | Raw::List(_) | Raw::Other(_) => {
                Err(raw.wrong("a whole number of 0 or more, or \"\""))
            }
        }
    }
    fn show(&self) -> String {
        self.map_or_else(|| quoted(""), |n| n.to_string())
    }
}

impl Value for u16 {
    fn read(raw: &Raw) -> Result<Self, String> {
        u32::read(raw)?.try_into().map_err(|_| raw.wrong("a number of 0 to 65535"))
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for PathBuf {
    fn read(raw: &Raw) -> Result<Self, String> {
        match String::read(raw)?.as_str() {
            "" => Err("an empty path".to_owned()),
            s => Ok(Self::from(s)),
        }
    }
    fn show(&self) -> String {
        quoted(&self.to_string_lossy())
    }
}

impl Value for SocketAddr {
    fn read(raw: &Raw) -> Result<Self, String> {
        let wanted =
            "an address with port, as \"127.0.0.1:8080\", \"[::1]:8080\" or \":8080\" for all interfaces";
        let s = text(raw, wanted)?;
        match s.strip_prefix(':') {
            Some(port) => {
                port.parse().map(|p| Self::from((Ipv4Addr::UNSPECIFIED, p))).map_err(|_| raw.wrong(wanted))
            }
            None => s.parse().map_err(|_| raw.wrong(wanted)),
        }
    }
    fn show(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Value for IpAddr {
    fn read(raw: &Raw) -> Result<Self, String> {
        let wanted = "an IP address, as \"192.168.1.10\" or \"fd00::10\"";
        text(raw, wanted)?.parse().map_err(|_| raw.wrong(wanted))
    }
    fn show(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Value for Option<IpAddr> {
    fn read(raw: &Raw) -> Result<Self, String> {
        match text(raw, "an IP address or \"\"")? {
            "" => Ok(None),
            _ => IpAddr::read(raw).map(Some),
        }
    }
    fn show(&self) -> String {
        self.map_or_else(|| quoted(""), |ip| ip.show())
    }
}

impl Value for Vec<String> {
    fn read(raw: &Raw) -> Result<Self, String> {
        list(raw, "a non-empty string without control characters", |s| {
            (!s.is_empty() && !s.chars().any(char::is_control)).then(|| s.to_owned())
        })
    }
    fn show(&self) -> String {
        show_list(self)
    }
}

/// Shown instead of a secret.
const HIDDEN: &str = "\"<hidden>\"";
/// Error for an unusable secret.
const NO_CONTROL: &str = "control characters are not allowed (the value is not shown)";

impl Value for Secret {
    fn read(raw: &Raw) -> Result<Self, String> {
        let secret = text(raw, "a string").map(Self::from).map_err(|_| EXPECTED.to_owned())?;
        if secret.has_control() { Err(NO_CONTROL.to_owned()) } else { Ok(secret) }
    }
    fn show(&self) -> String {
        if self.is_empty() { quoted("") } else { HIDDEN.to_owned() }
    }
}

impl Value for Vec<Secret> {
    fn read(raw: &Raw) -> Result<Self, String> {
        let wanted = "expected a list of non-empty strings (the values are not shown)";
        let secrets: Self =
            items(raw, "").map_err(|_| wanted.to_owned())?.into_iter().map(Secret::from).collect();
        match () {
            () if secrets.iter().any(Secret::is_empty) => Err(wanted.to_owned()),
            () if secrets.iter().any(Secret::has_control) => Err(NO_CONTROL.to_owned()),
            () => Ok(secrets),
        }
    }
    fn show(&self) -> String {
        if self.is_empty() { "[]".to_owned() } else { HIDDEN.to_owned() }
    }
}

impl Value for Vec<IpNet> {
    fn read(raw: &Raw) -> Result<Self, String> {
        list(raw, "an address or network, as \"192.168.1.7\" or \"10.0.0.0/8\"", parse_net)
    }
    fn show(&self) -> String {
        show_list(self)
    }
}

impl Value for Vec<SocketAddr> {
    fn read(raw: &Raw) -> Result<Self, String> {
        list(raw, "a name server, as \"192.168.1.1\" or \"127.0.0.1:5353\"", |s| {
            s.parse().ok().or_else(|| s.parse().ok().map(|ip: IpAddr| SocketAddr::new(ip, 53)))
        })
    }
    fn show(&self) -> String {
        show_list(self)
    }
}

impl Value for Vec<Codec> {
    fn read(raw: &Raw) -> Result<Self, String> {
        let known = format!("one of {}", KNOWN.join(", "));
        let names = list(raw, &known, |s| KNOWN.iter().find(|k| k.eq_ignore_ascii_case(s)).copied())?;
        let codecs: Self = names.into_iter().filter_map(Codec::by_name).collect();
        if codecs.is_empty() {
            let built: Vec<&str> = Codec::ALL.iter().map(|c| c.name()).collect();
            return Err(format!("no codec of the list is built in; built in are {}", built.join(", ")));
        }
        Ok(codecs)
    }
    fn show(&self) -> String {
        let names: Vec<&str> = self.iter().map(|c| c.name()).collect();
        show_list(&names)
    }
}

impl Value for Srtp {
    fn read(raw: &Raw) -> Result<Self, String> {
        named(raw, &Self::ALL, "one of off, optional, required")
    }
    fn show(&self) -> String {
        show_named(self, &Self::ALL)
    }
}

impl Value for log::LevelFilter {
    fn read(raw: &Raw) -> Result<Self, String> {
        let wanted = "one of error, warn, info, debug, trace, off";
        text(raw, wanted)?.parse().map_err(|_| raw.wrong(wanted))
    }
    fn show(&self) -> String {
        quoted(&self.to_string().to_lowercase())
    }
}

/// Parses a network, or a single address as a network of one address.
#[must_use]
pub fn parse_net(s: &str) -> Option<IpNet> {
    s.parse().ok().or_else(|| s.parse::<IpAddr>().ok().map(IpNet::from))
}

/// Networks from literals known to be valid, for defaults.
#[must_use]
pub fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().filter_map(|t| parse_net(t)).collect()
}

/// Characters allowed in a host-like name.
#[must_use]
pub fn is_name_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-._".contains(&b)
}
