//! The command line: the gateway itself, and the commands of the person who looks after it.

pub mod arguments;
pub mod banner;
pub mod boards;
pub mod client;
pub mod configuration;
pub mod outbox;
pub mod service;
pub mod status;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ArgMatches;
use clap::error::ErrorKind;

use crate::config::settings;
use crate::io::media_thread;

/// Exit codes, as `docs/operations.md` lists them.
const FAILED: u8 = 1;
/// Wrong arguments.
const USAGE: u8 = 2;

/// Does what the arguments say.
#[must_use]
pub fn main(given: impl IntoIterator<Item = std::ffi::OsString>) -> ExitCode {
    let matches = match arguments::command().try_get_matches_from(given) {
        Ok(matches) => matches,
        Err(e) => {
            let asked = matches!(e.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            // Where nothing can be written there is nobody to tell.
            let _told = e.print();
            return ExitCode::from(if asked { 0 } else { USAGE });
        }
    };
    match run(&matches) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            say_error(&message);
            ExitCode::from(FAILED)
        }
    }
}

fn run(matches: &ArgMatches) -> Result<(), String> {
    let read = configuration::Files {
        config: matches.get_one::<PathBuf>("config").cloned(),
        board: matches.get_one::<String>("board").cloned(),
    };
    if let Some((name, of)) = matches.subcommand() {
        return match name {
            "outbox" => outbox::run(&read.load()?.config, of),
            "boards" => boards::run(&read),
            "status" => status::run(&read, of),
            other => Err(format!("unknown command {other}")),
        };
    }
    let (check, print) = (matches.get_flag("check"), matches.get_flag("print-config"));
    let loaded = read.load()?;
    if print {
        say(settings::print(&loaded.config).trim_end());
    }
    if check {
        let memory = service::fit_memory(&loaded.config, &media_thread::plan(&loaded.config))?;
        let warnings = loaded.config.warnings();
        warnings.iter().chain(&memory).for_each(|warning| say(&format!("warning: {warning}")));
        say("the configuration is good");
    }
    if print || check { Ok(()) } else { service::run(loaded, &read) }
}

#[expect(clippy::print_stdout, reason = "what the user asked for goes to standard output")]
fn say(text: &str) {
    println!("{text}");
}

#[expect(clippy::print_stderr, reason = "errors before logging starts")]
fn say_error(text: &str) {
    eprintln!("{text}");
}
