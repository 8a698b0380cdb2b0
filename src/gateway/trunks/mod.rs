//! Trunks: accounts at providers and PBXs, and peers identified by address.

mod register;
pub mod registrar_answers;
pub mod registration;
mod status;
mod terms;
mod trunk;
#[expect(clippy::module_inception, reason = "the part itself")]
mod trunks;
mod trust;

pub use status::Status;
pub use terms::CallTerms;
pub use trunk::{PeerView, RegisterView, Trunk, TrunkId, TrunkRoute, TrunkView};
pub use trunks::{MAX_TRUNKS, Trunks};
