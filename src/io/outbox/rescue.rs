//! Reads a damaged outbox as far as possible. SQLite stops at the first unreadable page; here tables are read
//! from both ends, beyond unreadable rows, and in between.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

use super::fault::Fault;
use super::schema::{ALL, Table};

/// Bytes of the SQLite file header that are the same in every outbox, with their offsets
/// (https://www.sqlite.org/fileformat.html, 1.3).
const FIXED: [(usize, &[u8]); 5] =
    [(0, b"SQLite format 3\0"), (20, &[0, 64, 32, 32]), (52, &[0; 4]), (64, &[0; 4]), (72, &[0; 20])];
/// File format versions: rollback journal or write-ahead log.
const FORMATS: [[u8; 2]; 2] = [[1, 1], [2, 2]];
const HEAD: usize = 100;
/// Page size of all outboxes since the first release, bytes.
const PAGE: u16 = 1024;
/// A header with more wrong bytes than this is not repaired.
const MAX_WRONG: usize = 12;
/// Consecutive unreadable rows after which a page is considered lost.
const MAX_BARREN: u32 = 4;
/// Maximum bisections between two losses.
const HALVES: u32 = 10;

/// True if the file header is that of an outbox; an empty file has no header yet.
///
/// # Errors
/// Errors of the operating system.
pub(super) fn has_head(path: &Path) -> std::io::Result<bool> {
    let Some(head) = head(path)? else { return Ok(std::fs::metadata(path)?.len() == 0) };
    let mut mended = head;
    mend(&mut mended);
    Ok(mended == head)
}

fn head(path: &Path) -> std::io::Result<Option<[u8; HEAD]>> {
    let mut head = [0u8; HEAD];
    match File::open(path)?.read_exact(&mut head) {
        Ok(()) => Ok(Some(head)),
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => Ok(None),
        Err(e) => Err(e),
    }
}

fn put(head: &mut [u8; HEAD], at: usize, bytes: &[u8]) {
    head.iter_mut().skip(at).zip(bytes).for_each(|(b, want)| *b = *want);
}

/// Repairs the header.
fn mend(head: &mut [u8; HEAD]) {
    FIXED.iter().for_each(|(at, bytes)| put(head, *at, bytes));
    let number = |at: usize| {
        head.get(at..at + 4).and_then(|b| b.first_chunk::<4>()).copied().map_or(0, u32::from_be_bytes)
    };
    let page = number(16) >> 16;
    // Schema format and text encoding are 0 in a new outbox.
    let (format, encoding) = (number(44) <= 4, number(56) <= 1);
    let is_version = head.get(18..20).is_some_and(|b| FORMATS.iter().any(|f| f == b));
    if !(page == 1 || (page.is_power_of_two() && page >= 512)) {
        put(head, 16, &PAGE.to_be_bytes());
    }
    if !is_version {
        put(head, 18, &[2, 2]);
    }
    if !format {
        put(head, 44, &4u32.to_be_bytes());
    }
    if !encoding {
        put(head, 56, &1u32.to_be_bytes());
    }
}

/// Repairs the header of the file, and makes SQLite determine the number of pages from the file size.
fn mend_file(path: &Path) -> std::io::Result<()> {
    let Some(head) = head(path)? else { return Ok(()) };
    let mut mended = head;
    mend(&mut mended);
    if head.iter().zip(&mended).filter(|(a, b)| a != b).count() > MAX_WRONG {
        return Ok(());
    }
    // The number of pages is only valid if two counters are equal.
    let counter =
        mended.get(24..28).map_or([0; 4], |b| b.first_chunk::<4>().map_or([0; 4], |c| c.map(|b| !b)));
    put(&mut mended, 92, &counter);
    OpenOptions::new().write(true).open(path)?.write_all_at(&mended, 0)
}

/// Receives readable rows; an error returned by it stops the scan.
pub(super) type Each<'a> = &'a mut dyn FnMut(&Row<'_>) -> Result<(), Fault>;

/// A damaged file.
#[derive(Debug)]
pub(super) struct Ruin {
    db: Connection,
}

impl Ruin {
    /// Opens it as far as possible.
    ///
    /// # Errors
    /// It cannot be opened at all.
    pub(super) fn open(path: &Path) -> Result<Self, Fault> {
        if let Err(e) = mend_file(path) {
            log::debug!(error:% = e; "the header of the damaged outbox is not repaired");
        }
        let db = connect(path)?;
        // Definitions of unreadable tables are replaced by the known ones; the root page is stored
        // separately.
        let lost: Vec<Table> = ALL.into_iter().filter(|t| columns(&db, t.name).is_empty()).collect();
        let mut mended = 0;
        for table in &lost {
            let set =
                "UPDATE sqlite_schema SET type = 'table', name = ?1, tbl_name = ?1, sql = ?2 WHERE rowid IN
                (SELECT rowid FROM sqlite_schema WHERE rootpage > 1 AND type <> 'index'
                 AND (name = ?1 OR tbl_name = ?1 OR instr(sql, ?3) > 0) LIMIT 1)";
            let opening = format!("{}(", table.name);
            mended += db.execute(set, [table.name, &table.made_by(), &opening]).unwrap_or(0);
        }
        if mended == 0 {
            return Ok(Self { db });
        }
        drop(db);
        Ok(Self { db: connect(path)? })
    }

    /// Passes all readable rows of a table to `each`, with its columns in order; missing columns are NULL.
    /// False: there may be further rows.
    ///
    /// # Errors
    /// Errors of `each`.
    pub(super) fn rows(&self, table: &Table, each: Each<'_>) -> Result<bool, Fault> {
        let found = columns(&self.db, table.name);
        if found.is_empty() {
            return Ok(false);
        }
        let same = found.iter().zip(table.columns).all(|(a, b)| a == b);
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let named = |(at, name): (usize, &&str)| {
            // If only the name of a column is damaged, its position is used.
            let known = found.iter().any(|f| f == name);
            let at_its_place = found.get(at).filter(|_| found.len() == table.columns.len());
            if known { quoted(name) } else { at_its_place.map_or("NULL".to_owned(), |f| quoted(f)) }
        };
        let columns = table.columns.iter().enumerate().map(named).collect::<Vec<_>>();
        let key = columns.first().cloned().unwrap_or_default();
        let mut scan = Scan {
            db: &self.db,
            of: format!("{} FROM {} NOT INDEXED", columns.join(", "), table.name),
            key,
            seen: BTreeSet::new(),
        };
        let up = scan.pass("ASC", "", each)?;
        if up.whole {
            return Ok(same);
        }
        let down = scan.pass("DESC", "", each)?;
        if table.numbered {
            let (low, high) = (up.last.unwrap_or(0), down.last.unwrap_or(i64::MAX >> 1));
            scan.between(low, high, HALVES, each)?;
        }
        Ok(false)
    }
}

fn connect(path: &Path) -> Result<Connection, Fault> {
    let db = Connection::open(path)?;
    db.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    // Unreadable table definitions then hide only these tables.
    db.pragma_update(None, "writable_schema", true)?;
    Ok(db)
}

/// The column names of a table; empty: no such table.
pub(super) fn columns(db: &Connection, table: &str) -> Vec<String> {
    let ask = || -> Result<Vec<String>, Fault> {
        let mut ask = db.prepare("SELECT name FROM pragma_table_info(?1) ORDER BY cid")?;
        let names = ask.query_map([table], |r| r.get(0))?;
        names.collect()
    };
    // The first query after a schema error returns that error.
    ask().or_else(|_| ask()).unwrap_or_default()
}

/// Result of a pass.
struct Reached {
    /// The end was reached.
    whole: bool,
    /// The last key, if numeric.
    last: Option<i64>,
}

struct Scan<'a> {
    db: &'a Connection,
    /// Columns and table.
    of: String,
    /// Column of the key.
    key: String,
    /// Keys of the rows passed on.
    seen: BTreeSet<Vec<u8>>,
}

impl Scan<'_> {
    /// Reads in one direction, skipping unreadable rows, until a page is considered lost.
    fn pass(&mut self, order: &str, condition: &str, each: Each<'_>) -> Result<Reached, Fault> {
        let (mut at, mut barren, mut last) = (0u64, 0, None);
        let first = self.seen.is_empty();
        loop {
            let (of, key) = (&self.of, &self.key);
            let sql = format!("SELECT {of} {condition} ORDER BY {key} {order} LIMIT -1 OFFSET {at}");
            let Ok(mut ask) = self.db.prepare(&sql) else { return Ok(Reached { whole: false, last }) };
            let mut rows = ask.query([])?;
            let before = at;
            let ended = loop {
                match rows.next() {
                    Ok(Some(row)) => {
                        at += 1;
                        let (key, number) = key_of(row);
                        last = number.or(last);
                        // In the first pass, rows with equal keys are different rows with damaged keys.
                        if self.seen.insert(key) || first {
                            each(row)?;
                        }
                    }
                    Ok(None) => break true,
                    Err(_) => break false,
                }
            };
            barren = if at > before { 0 } else { barren + 1 };
            if ended || barren > MAX_BARREN {
                // The end after an unreadable row may not be the real one.
                return Ok(Reached { whole: ended && before == 0, last });
            }
            at += 1;
        }
    }

    /// Searches for rows between two keys next to unreadable pages.
    fn between(&mut self, low: i64, high: i64, halves: u32, each: Each<'_>) -> Result<(), Fault> {
        if halves == 0 || high.saturating_sub(low) < 2 {
            return Ok(());
        }
        let middle = low + (high - low) / 2;
        let key = self.key.clone();
        let up = self.pass("ASC", &format!("WHERE {key} >= {middle} AND {key} < {high}"), each)?;
        let down = self.pass("DESC", &format!("WHERE {key} < {middle} AND {key} > {low}"), each)?;
        if !up.whole {
            self.between(up.last.unwrap_or(middle), high, halves - 1, each)?;
        }
        if !down.whole {
            self.between(low, down.last.unwrap_or(middle), halves - 1, each)?;
        }
        Ok(())
    }
}

fn key_of(row: &Row<'_>) -> (Vec<u8>, Option<i64>) {
    match row.get_ref(0) {
        Ok(ValueRef::Integer(n)) => (n.to_be_bytes().to_vec(), Some(n)),
        Ok(ValueRef::Text(bytes) | ValueRef::Blob(bytes)) => (bytes.to_vec(), None),
        Ok(ValueRef::Null | ValueRef::Real(_)) | Err(_) => (Vec::new(), None),
    }
}
