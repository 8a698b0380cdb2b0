//! Multi-channel file merged from the tracks of a recording.

use crate::gateway::events::Channels;

/// Result of merging the tracks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// The file.
    pub file: String,
    /// Channels by leg.
    pub channels: Channels,
}

/// Directory of the tracks.
#[must_use]
pub fn dir_of(file: &str) -> String {
    format!("{}.tracks", file.strip_suffix(".wav").unwrap_or(file))
}

/// File name of the merged tracks: `YYYYMMDD_HHMMSS_multichannel_xxxxxxxx.wav`.
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
