//! The table of commands and options. Parsing, `--help`, the man page and the completions of shells come from it.

use std::path::PathBuf;

use clap::{Arg, ArgAction, Command, value_parser};

/// The command line.
#[must_use]
pub fn command() -> Command {
    Command::new("branchline")
        .version(env!("CARGO_PKG_VERSION"))
        .about("SIP gateway appliance: call legs, rooms and recordings over REST")
        .long_about(
            "Without a command the gateway runs in the foreground until SIGTERM or SIGINT; SIGHUP reads the configuration \
             again. The commands talk to a gateway that runs on this machine, and find it by its configuration.",
        )
        .arg(
            Arg::new("config")
                .long("config")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .global(true)
                .help("Configuration file [default: /etc/branchline/branchline.toml, where there is one]"),
        )
        .arg(
            Arg::new("board")
                .long("board")
                .value_name("NAME")
                .global(true)
                .help("Board profile, instead of the configured one; `auto`: that of this machine"),
        )
        .arg(flag("check", "Check the configuration, name all faults and warnings, and end"))
        .arg(flag("print-config", "Print the configuration in force, without secrets, and end"))
        .subcommand(Command::new("boards").about("List the board profiles, and which of them this machine has"))
        .subcommand(status())
        .subcommand(self_test())
        .subcommand(call())
        .subcommand(outbox())
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

/// Where the API is, if not where the configuration says.
fn url() -> Arg {
    Arg::new("url")
        .long("url")
        .value_name("URL")
        .help("Address of the API, as http://192.168.1.10:8080 [default: as configured]")
}

fn token() -> Arg {
    Arg::new("token-file")
        .long("token-file")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("File with the API's token [default: as configured]")
}

fn status() -> Command {
    Command::new("status")
        .about("Show what the gateway is doing, and what is wrong with it")
        .arg(flag("json", "Print the reply of GET /v1/status as it is"))
        .arg(flag("watch", "Draw it anew every two seconds, until Ctrl-C"))
        .args([url(), token()])
}

fn self_test() -> Command {
    Command::new("self-test")
        .about("Place a call to the gateway itself and measure it; without one that runs, one is started for it")
        .long_about(
            "Places a call through the gateway's own SIP, SRTP, mixer and recorder, and reports set-up time, latency, loss, \
             jitter, MOS and level, in at most 10 s. Exits with 0 when all is as it should be, with 1 when not, or nobody answers, \
             and with 3 when the gateway cannot test itself now, as when all legs are in use.",
        )
        .arg(flag("json", "Print the reply of POST /v1/self-test as it is"))
        .args([url(), token()])
}

fn call() -> Command {
    Command::new("call")
        .about("Place a test call, play a tone and show how well it travels")
        .arg(Arg::new("uri").value_name("URI").required(true).help("Whom to call, as sip:100@192.168.1.20"))
        .arg(
            Arg::new("seconds")
                .long("seconds")
                .value_name("N")
                .value_parser(value_parser!(u64).range(1..=3600))
                .default_value("5")
                .help("How long the tone lasts, from the answer on"),
        )
        .arg(flag("json", "Print the reply of GET /v1/legs/{id}/quality as it is"))
        .args([url(), token()])
}

fn outbox() -> Command {
    Command::new("outbox")
        .about("Show or drop events that wait for their webhook, while the gateway does not run")
        .subcommand_required(true)
        .subcommand(Command::new("list").about("List the events: number, time, type, leg, id, target"))
        .subcommand(
            Command::new("drop")
                .about("Drop an event by its number, or all")
                .arg(Arg::new("number").value_name("NUMBER|all").required(true)),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sound() {
        command().debug_assert();
        let parsed =
            command().try_get_matches_from(["branchline", "status", "--json", "--config", "/f"]).unwrap();
        assert_eq!(parsed.get_one::<PathBuf>("config").unwrap(), &PathBuf::from("/f"));
        assert!(command().try_get_matches_from(["branchline", "outbox"]).is_err());
    }
}
