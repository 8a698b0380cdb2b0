//! Rank 3: the media engine. Pure over an I/O trait; its tick neither allocates, locks, logs nor blocks.

pub mod command;
