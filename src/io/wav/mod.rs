//! WAV files: written, read, repaired.

mod adpcm;
pub mod file;
pub mod reader;
pub mod repair;
