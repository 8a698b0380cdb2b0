//! `branchline boards`: lists the profiles and marks that of this machine.

use std::fmt::Write as _;

use super::configuration::Files;
use super::output::say;
use crate::config::board::BOARDS;
use crate::config::profile::for_model;
use crate::io::system::machine;

/// Prints the table.
pub fn run(files: &Files) {
    say(table(machine::model().as_deref(), files.board_in_force().as_deref()).trim_end());
}

/// Marks the profile of `model` and the configured one, if given.
fn table(model: Option<&str>, in_force: Option<&str>) -> String {
    let mut out = String::new();
    let auto = model.and_then(for_model).map(|b| b.name);
    // Writing to a string cannot fail.
    let mut line = |text: std::fmt::Arguments<'_>| {
        let _written = writeln!(out, "{text}");
    };
    line(format_args!(
        "{:<18} {:>5} {:>5} {:>6} {:>8} {:>10} {:>11}  {:<10} description",
        "board", "legs", "Opus", "rooms", "members", "playbacks", "recordings", "figures"
    ));
    for board in BOARDS {
        let Some(profile) = board.profile() else { continue };
        let config = board.defaults();
        let l = &config.limits;
        line(format_args!(
            "{:<18} {:>5} {:>5} {:>6} {:>8} {:>10} {:>11}  {:<10} {}",
            board.name,
            l.legs,
            l.opus_legs,
            l.rooms,
            l.room_members,
            l.playbacks,
            l.recordings,
            profile.figures.as_str(),
            profile.about
        ));
    }
    match (model, auto) {
        (Some(model), Some(auto)) => line(format_args!("\nThis machine is a \"{model}\": `auto` is {auto}.")),
        (Some(model), None) => {
            line(format_args!(
                "\nThis machine is a \"{model}\", which no profile is for: `auto` is generic."
            ));
        }
        (None, _) => line(format_args!("\nThis machine has no device tree: `auto` is generic.")),
    }
    if let Some(name) = in_force {
        line(format_args!("The configuration names {name}."));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_all_and_says_which_is_meant() {
        let shown = table(Some("Raspberry Pi 4 Model B Rev 1.4"), Some("auto"));
        assert_eq!(shown.lines().count(), BOARDS.len() + 4, "{shown}");
        assert!(shown.lines().all(|l| l.len() < 160), "{shown}");
        let pi = shown.lines().find(|l| l.starts_with("rpi4 ")).unwrap();
        let words: Vec<&str> = pi.split_whitespace().take(8).collect();
        assert_eq!(words, ["rpi4", "128", "24", "64", "32", "64", "128", "projected"]);
        assert!(shown.contains("`auto` is rpi4.") && shown.contains("names auto."), "{shown}");
        assert!(table(Some("Toaster"), None).contains("which no profile is for"));
        assert!(table(None, None).contains("no device tree"));
    }
}
