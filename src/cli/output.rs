//! What commands print.

/// What the user asked for.
#[expect(clippy::print_stdout, reason = "what the user asked for goes to standard output")]
pub fn say(text: &str) {
    println!("{text}");
}

/// What went wrong, and how far it is.
#[expect(clippy::print_stderr, reason = "errors before logging starts, and progress")]
pub fn say_error(text: &str) {
    eprintln!("{text}");
}
