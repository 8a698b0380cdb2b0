//! `branchline outbox list` and `drop`: undelivered events, while the gateway is stopped.

use clap::ArgMatches;

use super::output::say;
use crate::base::time::Utc;
use crate::config::Config;
use crate::delivery::events::shown_url;
use crate::io::outbox::fault;
use crate::io::outbox::rows::Op;
use crate::io::outbox::store::{self, Store};
use crate::io::state::directory::StateDirectory;

/// Executes the command.
pub(super) fn run(config: &Config, of: &ArgMatches) -> Result<(), String> {
    if !config.state_dir.join(store::FILE).exists() {
        return Err(format!("{}: no gateway has run with this state directory", config.state_dir.display()));
    }
    let _lock = StateDirectory::open(&config.state_dir)
        .map_err(|e| format!("{}: {e}", config.state_dir.display()))?;
    let mut store = Store::open_as_is(&config.state_dir)?;
    let fail = |e: fault::Fault| format!("the outbox: {e}");
    let waiting = store.events().map_err(fail)?;
    match of.subcommand() {
        Some(("drop", of)) => {
            let which = of.get_one::<String>("number").map_or("all", String::as_str);
            if which == "all" {
                return drop_events(&mut store, waiting.iter().map(|w| w.row).collect());
            }
            let row = which.parse().map_err(|_| format!("{which} is not an event number"))?;
            if !waiting.iter().any(|w| w.row == row) {
                return Err(format!("no event {row}; `branchline outbox list` lists the waiting ones"));
            }
            drop_events(&mut store, vec![row])
        }
        _ => {
            for w in &waiting {
                // Bodies may contain digits and phone numbers: only the type is printed.
                let body: serde_json::Value = serde_json::from_slice(&w.body).unwrap_or_default();
                let text = |key: &str| body.get(key).and_then(serde_json::Value::as_str).unwrap_or("-");
                let (kind, leg) = (text("type"), text("leg_id"));
                let at = Utc::from_millis(w.at_ms).rfc3339();
                say(&format!("{}\t{at}\t{kind}\t{leg}\t{}\t{}", w.row, w.event_id, shown_url(&w.url)));
            }
            Ok(())
        }
    }
}

fn drop_events(store: &mut Store, rows: Vec<u64>) -> Result<(), String> {
    let ops: Vec<Op> = rows.into_iter().map(Op::Done).collect();
    store.apply(&ops).map_err(|e| format!("the outbox: {e}"))?;
    say(&format!("{} dropped", ops.len()));
    Ok(())
}
