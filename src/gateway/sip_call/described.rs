//! The session descriptions we have sent, verbatim: the version in the origin line is incremented if and only
//! if the description differs from the previous one (RFC 3264 §8, RFC 4028 §7.4).

use crate::sdp::Local;

/// Our session descriptions.
#[derive(Debug, Default)]
pub(super) struct Described {
    /// The last one sent, even in an offer that was rejected.
    sent: String,
    /// The one in force.
    agreed: String,
}

impl Described {
    /// Records the first description of a session.
    pub(super) fn begin(&mut self, text: &str) {
        text.clone_into(&mut self.sent);
        text.clone_into(&mut self.agreed);
    }

    /// The next description, built by `make`: with the version sent last if it is otherwise unchanged, with
    /// the next version if not.
    ///
    /// # Errors
    /// Those of `make`; the state is unchanged then.
    pub(super) fn next<T, E>(
        &mut self,
        local: &mut Local,
        mut make: impl FnMut(&mut Local) -> Result<(String, T), E>,
    ) -> Result<(String, T), E> {
        let mut ours = local.clone();
        let mut made = make(&mut ours)?;
        if made.0 != self.sent {
            ours.clone_from(local);
            ours.next();
            made = make(&mut ours)?;
            self.sent.clone_from(&made.0);
        }
        *local = ours;
        Ok(made)
    }

    /// The description in force, for repeating it; `None` if there is none.
    pub(super) fn again(&mut self, local: &mut Local) -> Option<String> {
        if self.agreed.is_empty() {
            return None;
        }
        if self.agreed != self.sent {
            // Our offer was rejected, and has used up a version number.
            local.next();
            self.agreed = under_version(&self.agreed, local.version);
            self.sent.clone_from(&self.agreed);
        }
        Some(self.agreed.clone())
    }

    /// The last description sent is now in force.
    pub(super) fn agree(&mut self) {
        self.agreed.clone_from(&self.sent);
    }

    /// The last description sent; empty before the first.
    #[must_use]
    pub(super) fn last(&self) -> &str {
        &self.sent
    }
}

/// One of our descriptions with another version.
fn under_version(text: &str, version: u64) -> String {
    let Some((head, origin)) = text.split_once("\r\no=") else { return text.to_owned() };
    let mut fields = origin.splitn(4, ' ');
    let (Some(user), Some(id), Some(_), Some(rest)) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return text.to_owned();
    };
    format!("{head}\r\no={user} {id} {version} {rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local() -> Local {
        Local { session_id: 7, ..Local::at("10.0.0.1".parse().unwrap(), 4000) }
    }

    fn text(local: &Local, direction: &str) -> String {
        format!("v=0\r\no=- 7 {} IN IP4 10.0.0.1\r\ns=-\r\na={direction}\r\n", local.version)
    }

    #[test]
    fn the_version_rises_with_every_change_and_with_nothing_else() {
        let (mut ours, mut said) = (local(), Described::default());
        said.begin(&text(&ours, "sendrecv"));
        let mut next = |said: &mut Described, direction: &str| {
            said.next(&mut ours, |l| Ok::<_, ()>((text(l, direction), ()))).unwrap();
            ours.version
        };
        let versions: Vec<u64> = ["sendrecv", "sendrecv", "recvonly", "recvonly", "sendrecv", "inactive"]
            .into_iter()
            .map(|direction| next(&mut said, direction))
            .collect();
        assert_eq!(versions, [1, 1, 2, 2, 3, 4]);
    }

    #[test]
    fn what_is_in_force_comes_again_word_for_word_unless_something_else_was_said() {
        let (mut ours, mut said) = (local(), Described::default());
        assert_eq!(said.again(&mut ours), None);
        let first = text(&ours, "sendrecv");
        said.begin(&first);
        assert_eq!((said.again(&mut ours), ours.version), (Some(first), 1));
        // A rejected hold: its version is used up.
        said.next(&mut ours, |l| Ok::<_, ()>((text(l, "sendonly"), ()))).unwrap();
        let third = Local { version: 3, ..local() };
        for _ in 0..2 {
            assert_eq!((said.again(&mut ours), ours.version), (Some(text(&third, "sendrecv")), 3));
        }
        let failed = said.next(&mut ours, |_| Err::<(String, ()), _>("no"));
        assert_eq!((failed, ours.version, said.last()), (Err("no"), 3, text(&third, "sendrecv").as_str()));
    }
}
