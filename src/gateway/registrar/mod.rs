//! Registrar of the branch's phones, and authentication of its users.

pub mod accounts;
mod authentication;
mod binding;
mod bindings;
pub mod guesses;
#[expect(clippy::module_inception, reason = "the part itself")]
mod registrar;
#[cfg(test)]
mod registrar_test;

pub use binding::{BindingView, EXPIRES, MAX_CONTACTS, PhoneRoute};
pub use registrar::{Caller, Registrar};
