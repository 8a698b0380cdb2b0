//! The branch's own users: their phones' registrations, and their passwords.

pub mod accounts;
mod authentication;
mod binding;
pub mod guesses;
#[expect(clippy::module_inception, reason = "the part itself")]
mod registrar;

pub use authentication::{Caller, Proof};
pub use binding::{BindingView, EXPIRES, MAX_CONTACTS, PhoneRoute};
pub use registrar::Registrar;
