//! Board profiles: the limits of a kind of hardware, as small data files.

/// Default profile.
pub const GENERIC: &str = "generic";
/// Selects the profile by the device-tree model.
pub const AUTO: &str = "auto";

macro_rules! built_in {
    ($($name:literal),*) => {
        &[$(Board { name: $name, text: include_str!(concat!("../../board/", $name, ".toml")) }),*]
    };
}

/// Profiles built into the program.
pub static BOARDS: &[Board] = built_in![
    "generic",
    "small",
    "rpi4",
    "rpi5",
    "rpi-zero2w",
    "imx8mm-evk",
    "beaglebone-black",
    "x86-fanless"
];

/// Capacity limits of the box; reaching one has a defined, visible outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Concurrent call legs.
    pub legs: u32,
    /// Concurrent legs that use Opus; further ones get other codecs.
    pub opus_legs: u32,
    /// Concurrent rooms.
    pub rooms: u32,
    /// Members per room.
    pub room_members: u32,
    /// Concurrent playbacks, legs and rooms together.
    pub playbacks: u32,
    /// Concurrent recordings, legs and rooms together.
    pub recordings: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { legs: 256, opus_legs: 32, rooms: 128, room_members: 64, playbacks: 128, recordings: 256 }
    }
}

/// A built-in profile.
#[derive(Debug, Clone, Copy)]
pub struct Board {
    /// Name, as `board = "…"` gives it.
    pub name: &'static str,
    /// Its TOML text.
    pub text: &'static str,
}

/// The built-in profile `name`.
#[must_use]
pub fn find(name: &str) -> Option<Board> {
    BOARDS.iter().find(|b| b.name == name).copied()
}
