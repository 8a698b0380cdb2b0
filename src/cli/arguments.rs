//! Commands and options. Parsing, `--help`, man pages and shell completions are derived from this definition.

use std::path::PathBuf;

use clap::{Arg, ArgAction, Command, value_parser};

/// Command line definition.
#[must_use]
pub fn command() -> Command {
    Command::new("branchline")
        .version(env!("CARGO_PKG_VERSION"))
        .about("SIP gateway appliance: call legs, rooms and recordings over REST")
        .long_about(
            "Without a command the gateway runs in the foreground until SIGTERM or SIGINT; SIGHUP reads the configuration \
             again. The commands connect to the gateway running on this machine, which they locate through its configuration.",
        )
        .arg(
            Arg::new("config")
                .long("config")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .global(true)
                .help("Configuration file [default: /etc/branchline/branchline.toml, if it exists]"),
        )
        .arg(
            Arg::new("board")
                .long("board")
                .value_name("NAME")
                .global(true)
                .help("Board profile, instead of the configured one; `auto`: detected"),
        )
        .arg(flag("check", "Check the configuration, print all errors and warnings, and exit"))
        .arg(flag("print-config", "Print the effective configuration, without secrets, and exit"))
        .subcommand(Command::new("boards").about("List the board profiles and mark that of this machine"))
        .subcommand(status())
        .subcommand(self_test())
        .subcommand(call())
        .subcommand(outbox())
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

/// The API address, if it differs from the configured one.
fn url() -> Arg {
    Arg::new("url")
        .long("url")
        .value_name("URL")
        .help("Address of the API, e.g. http://192.168.1.10:8080 [default: as configured]")
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
        .about("Show the status of the gateway and current problems")
        .arg(flag("json", "Print the reply of GET /v1/status unformatted"))
        .arg(flag("watch", "Refresh every two seconds, until Ctrl-C"))
        .args([url(), token()])
}

fn self_test() -> Command {
    Command::new("self-test")
        .about("Place a call to the gateway itself and measure it; starts a gateway if none is running")
        .long_about(
            "Places a call through the gateway's own SIP, SRTP, mixer and recorder, and reports set-up time, latency, loss, \
             jitter, MOS and level, in at most 10 s. Exit status: 0 if all checks passed, 1 if not or no gateway responds, \
             3 if the gateway cannot run the test now, e.g. because all legs are in use.",
        )
        .arg(flag("json", "Print the reply of POST /v1/self-test unformatted"))
        .args([url(), token()])
}

fn call() -> Command {
    Command::new("call")
        .about("Place a test call, play a tone and show the media quality")
        .arg(
            Arg::new("uri")
                .value_name("URI")
                .required(true)
                .help("SIP URI to call, e.g. sip:100@192.168.1.20"),
        )
        .arg(
            Arg::new("seconds")
                .long("seconds")
                .value_name("N")
                .value_parser(value_parser!(u64).range(1..=3600))
                .default_value("5")
                .help("Duration of the tone after the answer"),
        )
        .arg(flag("json", "Print the reply of GET /v1/legs/{id}/quality unformatted"))
        .args([url(), token()])
}

fn outbox() -> Command {
    Command::new("outbox")
        .about("Show or drop events that wait for their webhook, while the gateway is stopped")
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
