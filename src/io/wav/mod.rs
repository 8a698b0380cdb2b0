//! WAV files: writing, reading, repair.

mod adpcm;
pub mod file;
pub mod reader;
pub mod repair;
