//! Output of commands.

/// Prints a result to standard output.
#[expect(clippy::print_stdout, reason = "what the user asked for goes to standard output")]
pub fn say(text: &str) {
    println!("{text}");
}

/// Prints an error or progress message to standard error.
#[expect(clippy::print_stderr, reason = "errors before logging starts, and progress")]
pub fn say_error(text: &str) {
    eprintln!("{text}");
}
