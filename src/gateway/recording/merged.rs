//! The file that the tracks of a recording are put together in.

use crate::gateway::events::Channels;

/// What came of the tracks, for the event and the reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// The file.
    pub file: String,
    /// Where each leg is heard.
    pub channels: Channels,
}

/// Directory of a recording's tracks.
#[must_use]
pub fn dir_of(file: &str) -> String {
    format!("{}.tracks", file.strip_suffix(".wav").unwrap_or(file))
}

/// File of all channels of a recording: `YYYYMMDD_HHMMSS_multichannel_xxxxxxxx.wav`.
#[must_use]
pub fn merged_file(file: &str) -> String {
    let (rest, number) = file.rsplit_once('_').unwrap_or((file, "0.wav"));
    format!("{rest}_multichannel_{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files() {
        let file = "/var/r/20261125_120000_0badcafe.wav";
        assert_eq!(dir_of(file), "/var/r/20261125_120000_0badcafe.tracks");
        assert_eq!(merged_file(file), "/var/r/20261125_120000_multichannel_0badcafe.wav");
    }
}
