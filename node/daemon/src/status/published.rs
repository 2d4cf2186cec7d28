//! A report that is out, and its text.

use std::ops::Deref;
use std::sync::OnceLock;

use axum::body::Bytes;

use super::report::StatusReport;

/// A report that many read: the snapshot on the disk and whoever asks `/status` share one text,
/// made when the first of them wants it. With a long past it has a megabyte and takes some
/// milliseconds.
#[derive(Debug)]
pub struct PublishedReport {
    report: StatusReport,
    json: OnceLock<Bytes>,
}

impl PublishedReport {
    /// The report as JSON.
    ///
    /// # Errors
    ///
    /// If it does not serialise.
    pub fn json(&self) -> Result<Bytes, serde_json::Error> {
        if let Some(json) = self.json.get() {
            return Ok(json.clone());
        }
        let json = Bytes::from(serde_json::to_vec(&self.report)?);
        // Two that want it at once write the same.
        Ok(self.json.get_or_init(|| json).clone())
    }
}

impl From<StatusReport> for PublishedReport {
    fn from(report: StatusReport) -> Self {
        Self { report, json: OnceLock::new() }
    }
}

impl Deref for PublishedReport {
    type Target = StatusReport;

    fn deref(&self) -> &StatusReport {
        &self.report
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::sample;

    #[test]
    fn a_report_is_written_once_for_all_who_read_it() {
        let published = PublishedReport::from(sample::healthy());
        let (first, second) = (published.json().unwrap(), published.json().unwrap());
        assert_eq!(first.as_ptr(), second.as_ptr());
        assert_eq!(serde_json::from_slice::<StatusReport>(&first).unwrap(), sample::healthy());
    }
}
