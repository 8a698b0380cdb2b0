//! Board profiles: how much a kind of box can carry. Small data files, not code.

/// The profile in force when none is named.
pub const GENERIC: &str = "generic";

/// Profiles built into the program: name and file text.
pub static BOARDS: &[(&str, &str)] =
    &[(GENERIC, include_str!("../../board/generic.toml")), ("small", include_str!("../../board/small.toml"))];

/// What the box can carry; reaching a limit has a defined, visible outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Call legs alive at once.
    pub legs: u32,
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
        Self { legs: 256, rooms: 128, room_members: 64, playbacks: 128, recordings: 256 }
    }
}

/// A profile's text, by name.
#[derive(Debug, Clone, Copy)]
pub struct Board {
    /// Name, as `board = "…"` gives it.
    pub name: &'static str,
    /// The profile: the `[limits]` section of the configuration.
    pub text: &'static str,
}

/// The built-in profile `name`.
#[must_use]
pub fn find(name: &str) -> Option<Board> {
    BOARDS.iter().find(|(n, _)| *n == name).map(|(name, text)| Board { name, text })
}
