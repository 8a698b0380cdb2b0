//! Rank 6: the REST API. Each resource has a file with its endpoints and handlers; `routes` collects them
//! all.

pub mod amd;
pub mod app;
pub mod asyncapi;
pub mod call_control;
pub mod dispatch;
pub mod dtmf;
pub mod endpoint;
pub mod http;
pub mod legs;
pub mod metrics;
mod not_implemented;
pub mod openapi;
pub mod patterns;
pub mod playback;
pub mod quality;
pub mod recording;
pub mod recordings;
pub mod registrations;
pub mod request;
pub mod responses;
pub mod rooms;
pub mod routes;
pub mod self_test;
pub mod server;
pub mod status;
pub mod system;
pub mod trunks;
pub mod webhooks;
