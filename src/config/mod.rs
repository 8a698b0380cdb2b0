//! The configuration: sections with types and defaults, the table of keys in [`settings`], parsing of files
//! and environment in [`load`].

pub mod board;
mod checks;
pub mod dtmf;
mod file;
pub mod load;
mod networks;
mod open_files;
pub mod profile;
mod reload;
pub mod s3;
mod sections;
pub mod settings;
pub mod trunk;
pub mod value;

pub use crate::wire::crypto::Srtp;
pub use board::Board;
pub use dtmf::DtmfMode;
pub use file::Fault;
pub use load::{Machine, Sources, load, load_on};
pub use networks::is_of_site;
pub use reload::Reloaded;
pub use s3::{Place, S3};
pub use sections::{
    Config, DTMF_TYPES, DigestOrder, Dns, Events, Http, Log, MAX_NAME_SERVERS, Outbox, Prompts, Recording,
    Rooms, Rtp, Security, Sip, Tls, Webhook,
};
pub use trunk::{Account, Trunk, TrunkFields, TrunkKind, User};
