//! Main program: selects the command and returns its exit code.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ArgMatches;
use clap::error::ErrorKind;

use super::failure::{Failure, USAGE};
use super::output::{say, say_error};
use super::{arguments, boards, call, configuration, outbox, self_test, service, status};
use crate::config::settings;
use crate::io::media::media_thread;

/// Executes the command given by the arguments.
#[must_use]
pub fn main(given: impl IntoIterator<Item = std::ffi::OsString>) -> ExitCode {
    let matches = match arguments::command().try_get_matches_from(given) {
        Ok(matches) => matches,
        Err(e) => {
            let asked = matches!(e.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            // Nothing to be done if the message cannot be printed.
            let _told = e.print();
            return ExitCode::from(if asked { 0 } else { USAGE });
        }
    };
    match run(&matches) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.text.is_empty() {
                say_error(&failure.text);
            }
            ExitCode::from(failure.code)
        }
    }
}

fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let read = configuration::Files {
        config: matches.get_one::<PathBuf>("config").cloned(),
        board: matches.get_one::<String>("board").cloned(),
    };
    if let Some((name, of)) = matches.subcommand() {
        return match name {
            "outbox" => Ok(outbox::run(&read.load()?.config, of)?),
            "boards" => {
                boards::run(&read);
                Ok(())
            }
            "status" => Ok(status::run(&read, of)?),
            "self-test" => self_test::run(&read, of),
            "call" => call::run(&read, of),
            other => Err(format!("unknown command {other}").into()),
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
    if print || check { Ok(()) } else { Ok(service::run(loaded, &read)?) }
}
