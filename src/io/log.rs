//! Log lines for people and journald: one line a fact, `key=value`, to stderr.

use std::io::Write;

use log::kv::{Error, Key, Value, VisitSource};
use log::{Level, LevelFilter, Record};

use super::clock;

/// Starts logging at `level`. Under journald (`JOURNAL_STREAM`) lines carry their priority and no time.
pub fn start(level: LevelFilter) {
    let journald = std::env::var_os("JOURNAL_STREAM").is_some();
    let mut builder = env_logger::Builder::new();
    builder.filter_level(LevelFilter::Warn).filter_module("branchline", level);
    // What a decoder thinks of somebody's file is told by an event.
    builder.filter_module("symphonia", LevelFilter::Off);
    builder.format(move |out, record| writeln!(out, "{}", line(record, journald)));
    // A second start changes nothing; tests start more than one gateway in a process.
    let _started = builder.try_init();
}

fn line(record: &Record<'_>, journald: bool) -> String {
    let mut out = if journald {
        format!("<{}>", priority(record.level()))
    } else {
        format!("{} {:5} ", clock::now().utc.rfc3339(), record.level())
    };
    out.push_str(&clean(&record.args().to_string()));
    let mut fields = Fields(&mut out);
    // The visitor never fails.
    let _ok = record.key_values().visit(&mut fields);
    out
}

struct Fields<'a>(&'a mut String);

impl<'kvs> VisitSource<'kvs> for Fields<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        let value = clean(&value.to_string());
        let quote = value.is_empty() || value.contains([' ', '"', '=']);
        let value = if quote { format!("\"{}\"", value.replace('"', "'")) } else { value };
        self.0.push_str(&format!(" {key}={value}"));
        Ok(())
    }
}

/// One line stays one line, whatever a peer put into it.
fn clean(s: &str) -> String {
    s.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// syslog(3) priorities, as journald reads them from `<N>`.
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_a_line() {
        let fields: [(&str, &str); 2] = [("peer", "a\r\nb c"), ("n", "1")];
        let record =
            Record::builder().level(Level::Warn).args(format_args!("odd\nthing")).key_values(&fields).build();
        let got = line(&record, true);
        assert_eq!(got, "<4>odd\u{fffd}thing peer=\"a\u{fffd}\u{fffd}b c\" n=1");
    }
}
