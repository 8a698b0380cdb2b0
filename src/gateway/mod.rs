//! Rank 4: the gateway itself, pure: it owns every leg, room, transaction and dialog, opens no socket,
//! reads no clock and spawns nothing. The shell feeds it and drains it.

pub mod admission;
pub mod auth;
pub mod call_in;
pub mod call_out;
pub mod change;
pub mod command;
pub mod controls;
pub mod core;
pub mod digits;
pub mod ending;
pub mod error;
pub mod event;
pub mod failover;
pub mod forking;
pub mod identity;
pub mod in_dialog;
pub mod leg;
pub mod listening;
pub mod outside;
pub mod playback;
pub mod ports;
pub mod record;
pub mod redirections;
pub mod referred;
pub mod refresh;
pub mod registrar;
pub mod registrar_answers;
pub mod registration;
pub mod reliable;
pub mod replies;
pub mod room;
pub mod sending;
pub mod slots;
pub mod snapshot;
pub mod takeover;
pub mod tracks;
pub mod transfer;
pub mod trunk;
pub mod verbs;
pub mod work;

pub use self::core::Gateway;
pub use error::GatewayError;
