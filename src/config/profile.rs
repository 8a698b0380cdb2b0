//! Text of a board profile: description of the hardware, and its settings.

use serde::Deserialize;

use super::board::{self, Board};
use super::file::{self, Fault};
use super::sections::Config;
use super::settings::SETTINGS;

/// Settings that a profile must contain.
const GIVEN: [&str; 8] = [
    "limits.legs",
    "limits.opus_legs",
    "limits.rooms",
    "limits.room_members",
    "limits.playbacks",
    "limits.recordings",
    "outbox.max_mb",
    "rtp.realtime_priority",
];
/// Settings that it may contain in addition.
const MAY: [&str; 2] = ["rtp.media_core", "rtp.opus_complexity"];

/// Description of the hardware, section `[profile]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The box in one line.
    pub about: String,
    /// Prefixes of the device-tree models.
    #[serde(default)]
    pub models: Vec<String>,
    /// Memory of the smallest such box, MB.
    pub memory_mb: u32,
    /// Origin of its figures.
    pub figures: Figures,
    /// Measurements and external sources, one line each.
    pub sources: Vec<String>,
    /// Concurrent sessions of speech recognition, synthesis and agents.
    pub speech_sessions: u32,
    /// Cache for synthesized prompts, MB.
    pub prompt_cache_mb: u32,
    /// Sound devices that such a box has, or is usually equipped with.
    #[serde(default)]
    pub audio: Vec<Audio>,
}

/// Reliability of a profile's figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Figures {
    /// Measured on such a machine.
    Measured,
    /// Measured on another machine and scaled by the published ratio of the cores.
    Projected,
}

impl Figures {
    /// The name used in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Projected => "projected",
        }
    }
}

/// A sound device.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audio {
    /// ALSA device name.
    pub device: String,
    /// Supported sampling rates, Hz.
    pub rates: Vec<u32>,
}

#[derive(Deserialize)]
struct Head {
    profile: Profile,
}

impl Board {
    /// Its description; never `None` for built-in profiles, which a test parses.
    #[must_use]
    pub fn profile(&self) -> Option<Profile> {
        read(self.text).ok()
    }

    /// The configuration that results from it alone.
    #[must_use]
    pub fn defaults(&self) -> Config {
        let mut config = Config::default();
        // Built-in profiles have no errors: a test parses them all.
        apply(&mut config, self.name, self.text, &mut Vec::new());
        config
    }
}

/// The built-in profile for the device-tree model `model`.
#[must_use]
pub fn for_model(model: &str) -> Option<Board> {
    let is_it = |b: &&Board| {
        b.profile().is_some_and(|p| p.models.iter().any(|m| model.trim_start().starts_with(m.as_str())))
    };
    board::BOARDS.iter().find(is_it).copied()
}

fn read(text: &str) -> Result<Profile, toml::de::Error> {
    toml::from_str::<Head>(text).map(|head| head.profile)
}

/// Applies a profile. An incomplete one is an error: it would leave limits of another box in place.
pub(super) fn apply(config: &mut Config, name: &str, text: &str, faults: &mut Vec<Fault>) {
    let before = faults.len();
    let found = file::apply(config, Some((name, text)), file::Kind::Profile, faults);
    if faults.len() > before {
        return;
    }
    let mut fault = |place: String, what: String| faults.push(Fault { place, what });
    if let Err(e) = read(text) {
        let line = e.span().map_or(1, |s| file::line_of(text, s.start));
        fault(format!("{name}:{line}"), e.message().to_owned());
    }
    for key in GIVEN.iter().filter(|k| !found.iter().any(|f| f == *k)) {
        fault(name.to_owned(), format!("{key} is missing: a profile sets all of {}", GIVEN.join(", ")));
    }
    for key in found.iter().filter(|f| !GIVEN.iter().chain(&MAY).any(|k| k == f)) {
        if SETTINGS.iter().any(|s| s.key == key) {
            fault(
                name.to_owned(),
                format!("{key} is no setting of a profile: it belongs into branchline.toml"),
            );
        }
    }
    config.profile_limits = config.limits.clone();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_device_tree_s_model_leads_to_its_profile() {
        let name = |model: &str| for_model(model).map(|b| b.name);
        assert_eq!(name("Raspberry Pi 4 Model B Rev 1.5"), Some("rpi4"));
        assert_eq!(name("Raspberry Pi 5 Model B Rev 1.0"), Some("rpi5"));
        assert_eq!(name("Raspberry Pi Zero 2 W Rev 1.0"), Some("rpi-zero2w"));
        assert_eq!(name("Raspberry Pi Zero W Rev 1.1"), None);
        assert_eq!(name("NXP i.MX8MM EVK board"), Some("imx8mm-evk"));
        assert_eq!(name("FSL i.MX8MM EVK board"), Some("imx8mm-evk"));
        assert_eq!(name("TI AM335x BeagleBone Black"), Some("beaglebone-black"));
        assert_eq!(name("Toaster"), None);
    }

    #[test]
    fn a_half_written_profile_is_refused_with_what_is_missing() {
        let whole = board::find("rpi4").unwrap().text;
        let faults = |text: &str| {
            let mut faults = Vec::new();
            apply(&mut Config::default(), "mine.toml", text, &mut faults);
            faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        };
        assert_eq!(faults(whole), "");
        let half = whole.split("[rtp]").next().unwrap();
        assert!(faults(half).starts_with("mine.toml: rtp.realtime_priority is missing: a profile sets"));
        assert!(faults("").starts_with("mine.toml:1: missing field `profile`"), "{}", faults(""));
        assert!(faults(&whole.replace("about", "abuot")).contains("unknown field `abuot`"));
        assert!(faults(&whole[..whole.len() - 9]).starts_with("mine.toml:"));
        assert!(
            faults(&format!("{whole}[http]\nlisten = \":80\"\n"))
                .contains("http.listen is no setting of a profile")
        );
        let beyond = whole.replace("legs = 128", "legs = 4096");
        assert!(
            faults(&beyond).contains("limits.legs: 4096 is out of range: 1 to 1024 is allowed"),
            "{}",
            faults(&beyond)
        );
    }
}
