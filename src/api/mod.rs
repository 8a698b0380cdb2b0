//! Rank 6: the REST interface. One table of routes drives dispatch, `Allow` and `openapi.json`.

pub mod auth;
pub mod body;
pub mod clients;
pub mod dispatch;
pub mod engine;
pub mod error;
pub mod head;
pub mod keeping;
mod later;
pub mod legs;
pub mod listening;
pub mod metrics;
pub mod openapi;
pub mod origin;
pub mod patterns;
pub mod playback;
pub mod reply;
pub mod requests;
pub mod rooms;
pub mod routes;
pub mod select;
pub mod self_test;
pub mod server;
pub mod status;
pub mod system;
pub mod trunk_routes;
pub mod trunks;
