//! Rank 6: the S3 client. Performs the I/O that the upload queues request.

pub mod client;
pub mod credentials;
pub mod pace;
pub mod request;
pub mod s3_response;
mod server;
pub mod sigv4;
mod uploader;
pub mod verdict;
pub mod way;

pub use uploader::run;
