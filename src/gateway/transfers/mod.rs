//! Calls in the place of others: transfers that far ends ask for, and INVITEs with Replaces.

mod originate;
mod refer_in;
mod replaces;
mod subscription;

pub use originate::{raw_user, referral_call};
pub use refer_in::{Referral, Referrals};
pub use replaces::{Predecessor, Replacements};
