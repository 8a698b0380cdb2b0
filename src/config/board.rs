//! Board profiles: how much a kind of box can carry. Small data files, not code.

/// The profile in force when none is named.
pub const GENERIC: &str = "generic";
/// The profile of the machine's model, as its device tree names it.
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

/// What the box can carry; reaching a limit has a defined, visible outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Call legs alive at once.
    pub legs: u32,
    /// Legs that use Opus at once; further ones get other codecs.
    pub opus_legs: u32,
    /// Rooms alive at once.
    pub rooms: u32,
    /// Members of one room.
    pub room_members: u32,
    /// Playbacks running at once, legs and rooms together.
    pub playbacks: u32,
    /// Recordings running at once, legs and rooms together.
    pub recordings: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { legs: 256, opus_legs: 32, rooms: 128, room_members: 64, playbacks: 128, recordings: 256 }
    }
}

/// A profile that is built in.
#[derive(Debug, Clone, Copy)]
pub struct Board {
    /// Name, as `board = "…"` gives it.
    pub name: &'static str,
    /// The profile.
    pub text: &'static str,
}

/// The built-in profile `name`.
#[must_use]
pub fn find(name: &str) -> Option<Board> {
    BOARDS.iter().find(|b| b.name == name).copied()
}
