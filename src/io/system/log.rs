//! Logging to stderr, readable by people and journald: one line per message, fields as `key=value`.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::Write;

use async_channel::{Receiver, Sender};
use log::kv::{Error, Key, Value, VisitSource};
use log::{Level, LevelFilter, Metadata, Record};

use super::clock;
use crate::base::time::Utc;

/// Lines kept for the status.
const MAX_REMEMBERED: usize = 32;
/// Maximum bytes of each.
const MAX_LINE: usize = 512;

/// A warning or error of the log, kept for the status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// Time.
    pub at: Utc,
    /// `Warn` or `Error`.
    pub level: Level,
    /// The message and its fields, without time and level.
    pub text: String,
}

/// The most recent warnings and errors.
#[derive(Debug)]
pub struct Faults {
    news: Receiver<Remembered>,
    last: RefCell<VecDeque<Remembered>>,
}

impl Faults {
    /// The kept lines, latest first.
    #[must_use]
    pub fn latest(&self) -> Vec<Remembered> {
        let mut last = self.last.borrow_mut();
        while let Ok(news) = self.news.try_recv() {
            if last.len() == MAX_REMEMBERED {
                last.pop_front();
            }
            last.push_back(news);
        }
        last.iter().rev().cloned().collect()
    }
}

/// Starts logging at `level`. Under journald (`JOURNAL_STREAM`) lines have a priority prefix and no time.
pub fn start(level: LevelFilter) -> Faults {
    let journald = std::env::var_os("JOURNAL_STREAM").is_some();
    let mut builder = env_logger::Builder::new();
    // The level is applied by the `log` facade, since it can change later.
    builder.filter_level(LevelFilter::Warn).filter_module("branchline", LevelFilter::Trace);
    // Decoder messages about a file are reported by events.
    builder.filter_module("symphonia", LevelFilter::Off);
    builder.format(move |out, record| writeln!(out, "{}", line(record, journald)));
    let (told, news) = async_channel::bounded(MAX_REMEMBERED);
    // A second start has no effect; tests start several gateways in one process.
    let _started = log::set_boxed_logger(Box::new(Logger { out: builder.build(), told }));
    set_level(level);
    Faults { news, last: RefCell::default() }
}

/// Changes the log level.
pub fn set_level(level: LevelFilter) {
    log::set_max_level(level);
}

/// Writes lines, and keeps warnings and errors.
struct Logger {
    out: env_logger::Logger,
    told: Sender<Remembered>,
}

impl log::Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.out.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.out.matches(record) {
            return;
        }
        self.out.log(record);
        if record.level() <= Level::Warn {
            let text = text(record).chars().take(MAX_LINE).collect();
            // The oldest is dropped. Without a gateway there is no receiver.
            let _told =
                self.told.force_send(Remembered { at: clock::now().utc, level: record.level(), text });
        }
    }

    fn flush(&self) {
        self.out.flush();
    }
}

fn line(record: &Record<'_>, journald: bool) -> String {
    let head = if journald {
        format!("<{}>", priority(record.level()))
    } else {
        format!("{} {:5} ", clock::now().utc.rfc3339(), record.level())
    };
    head + &text(record)
}

fn text(record: &Record<'_>) -> String {
    let mut out = clean(&record.args().to_string());
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

/// Replaces control characters, so that peers cannot insert lines.
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
    fn the_last_faults_are_remembered() {
        let (told, news) = async_channel::bounded(MAX_REMEMBERED);
        let faults = Faults { news, last: RefCell::default() };
        let out = env_logger::Builder::new().filter_level(LevelFilter::Trace).is_test(true).build();
        let logger = Logger { out, told };
        let say = |level, n: usize| {
            let text = format!("fault {n}");
            log::Log::log(&logger, &Record::builder().level(level).args(format_args!("{text}")).build());
        };
        say(Level::Info, 1);
        (2..40).for_each(|n| say(Level::Warn, n));
        say(Level::Error, 40);
        let latest = faults.latest();
        assert_eq!(
            (latest.len(), latest[0].text.as_str(), latest[0].level),
            (MAX_REMEMBERED, "fault 40", Level::Error)
        );
        assert_eq!(latest[MAX_REMEMBERED - 1].text, "fault 9");
    }

    #[test]
    fn a_line_stays_a_line() {
        let fields: [(&str, &str); 2] = [("peer", "a\r\nb c"), ("n", "1")];
        let record =
            Record::builder().level(Level::Warn).args(format_args!("odd\nthing")).key_values(&fields).build();
        let got = line(&record, true);
        assert_eq!(got, "<4>odd\u{fffd}thing peer=\"a\u{fffd}\u{fffd}b c\" n=1");
    }
}
