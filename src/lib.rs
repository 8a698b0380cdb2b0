//! Branchline: a SIP gateway appliance in one lean process.
//!
//! Modules are ranked, lowest first; a file may use modules of lower ranks and of its own folder, never
//! another module of its rank (`tests/layers` enforces it). Ranks 0 to 4 use no socket, clock, thread or
//! file.
//!
//! | rank | modules |
//! |---|---|
//! | 0 | [`base`] |
//! | 1 | [`wire`], [`codec`], [`dsp`] |
//! | 2 | [`config`], [`sdp`], [`rtp`] |
//! | 3 | [`sip`], [`media`], [`deliver`] |
//! | 4 | [`gateway`] |
//! | 5 | [`io`] |
//! | 6 | [`api`], [`hook`], [`upload`] |
//! | 7 | [`cli`] |

pub mod api;
pub mod base;
pub mod cli;
pub mod codec;
pub mod config;
pub mod delivery;
pub mod dsp;
pub mod gateway;
pub mod io;
pub mod media;
pub mod rtp;
pub mod sdp;
pub mod sip;
pub mod upload;
pub mod webhook_client;
pub mod wire;
