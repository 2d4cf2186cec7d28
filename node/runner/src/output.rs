//! What a container prints: counted against its limit, and only the end of it kept.

use std::collections::VecDeque;

use crate::OUTPUT_TAIL_BYTES_MAX;

/// Counts bytes and keeps the last of them.
#[derive(Debug)]
pub(crate) struct OutputMeter {
    limit_bytes: u64,
    seen_bytes: u64,
    tail: VecDeque<u8>,
}

impl OutputMeter {
    pub(crate) fn new(limit_bytes: u64) -> Self {
        Self { limit_bytes, seen_bytes: 0, tail: VecDeque::new() }
    }

    /// Takes what was printed, from stdout or stderr.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.seen_bytes = self.seen_bytes.saturating_add(bytes.len() as u64);
        let kept = bytes.len().min(OUTPUT_TAIL_BYTES_MAX);
        let excess = (self.tail.len() + kept).saturating_sub(OUTPUT_TAIL_BYTES_MAX);
        self.tail.drain(..excess);
        self.tail.extend(&bytes[bytes.len() - kept..]);
    }

    /// Whether more was printed than allowed.
    pub(crate) fn is_over(&self) -> bool {
        self.seen_bytes > self.limit_bytes
    }

    /// Bytes seen. Above the limit it says nothing about how much more there would have been.
    pub(crate) fn seen_bytes(&self) -> u64 {
        self.seen_bytes
    }

    /// The end of the output as text; what is no UTF-8 is replaced.
    pub(crate) fn tail_text(&self) -> String {
        let (front, back) = self.tail.as_slices();
        String::from_utf8_lossy(&[front, back].concat()).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_bytes_are_kept_however_they_arrive() {
        let text: Vec<u8> = (0..100_000u32).map(|i| b'a' + (i % 26) as u8).collect();
        for chunk in [1, 7, 4096, 16_384, 100_000] {
            let mut meter = OutputMeter::new(u64::MAX);
            text.chunks(chunk).for_each(|bytes| meter.push(bytes));
            let tail = &text[text.len() - OUTPUT_TAIL_BYTES_MAX..];
            assert_eq!(meter.tail_text().as_bytes(), tail, "chunks of {chunk}");
            assert_eq!(meter.seen_bytes(), 100_000);
        }
    }

    #[test]
    fn the_limit_itself_is_allowed_and_one_byte_more_is_not() {
        let mut meter = OutputMeter::new(4);
        meter.push(b"abcd");
        assert!(!meter.is_over());
        meter.push(b"e");
        assert!(meter.is_over());
    }
}
