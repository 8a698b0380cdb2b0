//! The text of a board profile: what it says of the box, and the settings it gives.

use serde::Deserialize;

use super::board::{self, Board};
use super::file::{self, Fault};
use super::sections::Config;
use super::settings::SETTINGS;

/// Settings that a profile has to give.
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
/// Settings that it may give beside.
const MAY: [&str; 2] = ["rtp.media_core", "rtp.opus_complexity"];

/// What a profile says of the box: its section `[profile]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The box in one line.
    pub about: String,
    /// How the models that the device tree may name begin.
    #[serde(default)]
    pub models: Vec<String>,
    /// Memory of the smallest such box, MB.
    pub memory_mb: u32,
    /// Where its figures come from.
    pub figures: Figures,
    /// What was measured, and what was read elsewhere, one line each.
    pub sources: Vec<String>,
    /// Sessions of speech recognition, synthesis and agents at once.
    pub speech_sessions: u32,
    /// Room for prompts that were synthesized, MB.
    pub prompt_cache_mb: u32,
    /// Sound devices that such a box has, or usually is given.
    #[serde(default)]
    pub audio: Vec<Audio>,
}

/// How sure the figures of a profile are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Figures {
    /// On such a machine.
    Measured,
    /// On another machine, and multiplied by the published ratio of the cores.
    Projected,
}

impl Figures {
    /// As it stands in the file.
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
    /// Its name in ALSA.
    pub device: String,
    /// Sampling rates that it takes, Hz.
    pub rates: Vec<u32>,
}

#[derive(Deserialize)]
struct Head {
    profile: Profile,
}

impl Board {
    /// What it says of the box; `None` never happens with what is built in, as a test reads it all.
    #[must_use]
    pub fn profile(&self) -> Option<Profile> {
        read(self.text).ok()
    }

    /// The configuration that it leads to where nothing else is said.
    #[must_use]
    pub fn defaults(&self) -> Config {
        let mut config = Config::default();
        // Built-in profiles have no faults: a test reads them all.
        apply(&mut config, self.name, self.text, &mut Vec::new());
        config
    }
}

/// The built-in profile of a machine whose device tree names it `model`.
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

/// Takes over what a profile gives. It is whole or a fault: a half-written one would leave limits of another box.
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
