//! Context of our NOTIFY requests.

/// Context of a NOTIFY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notice {
    /// CSeq number of the REFER.
    pub number: u32,
    /// Final status code that it reports, if any.
    pub outcome: Option<u16>,
}
