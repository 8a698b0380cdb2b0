//! Transfers requested by far ends (REFER), and INVITEs with Replaces.

mod originate;
mod refer_in;
mod replaces;
mod subscription;

pub use originate::{raw_user, referral_call};
pub use refer_in::{Referral, Referrals};
pub use replaces::{Predecessor, Replacements};
