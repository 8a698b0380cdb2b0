//! The program.

use std::process::ExitCode;

fn main() -> ExitCode {
    branchline::cli::main(std::env::args_os())
}
