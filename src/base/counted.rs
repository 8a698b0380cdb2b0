//! Counts with their noun, for log and error messages.

/// `1 leg`, `2 legs`.
#[must_use]
pub fn counted(n: u64, one: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_has_no_s() {
        assert_eq!((counted(0, "leg"), counted(1, "leg")), ("0 legs".to_owned(), "1 leg".to_owned()));
    }
}
