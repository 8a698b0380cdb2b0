//! What calls take from bounded stocks: socket pairs and places in the media engine.

pub mod ports;
pub mod slots;
