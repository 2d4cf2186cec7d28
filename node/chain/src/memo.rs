//! What stored bytes were found to mean, kept for when the same bytes come again.
//!
//! A subnet's settings change once in weeks, and are decoded by the runtime's types: that takes
//! longer than seeing that they are what they were.

use std::sync::{Mutex, PoisonError};

/// The last meaning. It belongs to one runtime.
#[derive(Debug)]
pub(crate) struct Memo<T>(Mutex<Option<Known<T>>>);

/// A meaning, and the stored values that it is the meaning of.
#[derive(Debug)]
struct Known<T> {
    values: Vec<Option<Vec<u8>>>,
    meaning: T,
}

impl<T> Default for Memo<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Memo<T> {
    /// The meaning of these values: what it was last time if they are the same, else what `find`
    /// makes of them. An error is not kept.
    pub(crate) fn of<E>(
        &self,
        values: &[Option<&[u8]>],
        find: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let kept = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*kept() {
            if known.values.iter().map(Option::as_deref).eq(values.iter().copied()) {
                return Ok(known.meaning.clone());
            }
        }
        let meaning = find()?;
        let values = values.iter().map(|value| value.map(<[u8]>::to_vec)).collect();
        *kept() = Some(Known { values, meaning: meaning.clone() });
        Ok(meaning)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meaning_is_found_anew_only_when_a_value_changed() {
        let (memo, mut times) = (Memo::default(), 0);
        let mut meaning = |values: &[Option<&[u8]>]| {
            let find = || {
                times += 1;
                Ok::<_, ()>(times)
            };
            memo.of(values, find).unwrap()
        };
        let (one, two) = (Some(&b"1"[..]), Some(&b"2"[..]));
        assert_eq!(meaning(&[one, None]), 1);
        assert_eq!(meaning(&[one, None]), 1);
        assert_eq!(meaning(&[one, two]), 2, "a value came");
        assert_eq!(meaning(&[two, one]), 3, "in other places");
        assert_eq!(meaning(&[two, Some(b"")]), 4, "nothing is not an empty value");
        assert_eq!(meaning(&[two, None]), 5);
    }

    #[test]
    fn what_could_not_be_found_is_looked_for_again() {
        let memo = Memo::default();
        assert_eq!(memo.of(&[None], || Err("unreadable")), Err("unreadable"));
        assert_eq!(memo.of(&[None], || Ok::<_, &str>(7)), Ok(7));
        assert_eq!(memo.of(&[None], || Err("not asked")), Ok(7));
    }
}
