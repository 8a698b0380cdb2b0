//! Name resolution, HTTP client, TLS and TCP.

pub mod dns;
#[cfg(test)]
mod dns_test;
pub mod http_call;
pub mod http_client;
pub mod http_names;
pub mod http_pool;
#[cfg(test)]
mod http_pool_test;
pub mod kernel_drops;
pub mod locate;
pub mod race;
pub mod redirect;
pub mod sockets;
pub mod tcp;
pub mod tls;
pub mod tls_names;
