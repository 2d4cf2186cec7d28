//! Sentences of a small invented language, whose true probabilities are known.
//!
//! The words are drawn from the seed; after each one of [`SUCCESSORS`] follows with known odds. A
//! sequence begins with padding and a word drawn evenly, and is cut at its length wherever that
//! falls.

use node_core::id::Digest;

use super::stream::Stream;
use super::{count, Example, Examples, PAD};

const WORDS: u16 = 64;
const LETTERS: u16 = 12;
/// Odds of a word's successors, of 8.
const SUCCESSORS: [u16; 4] = [4, 2, 1, 1];
const ODDS: u16 = 8;
/// Bytes of a sequence.
const LENGTH: usize = 128;

/// A language.
struct Language {
    /// Each with a blank behind it, all different.
    words: Vec<Vec<u8>>,
    /// What follows each word, the likeliest first; all different.
    next: Vec<Vec<usize>>,
}

impl Language {
    fn new(seed: &Digest) -> Self {
        let mut stream = Stream::new(seed, "language");
        let mut words: Vec<Vec<u8>> = Vec::new();
        while words.len() < usize::from(WORDS) {
            let length = 2 + stream.below(5);
            let letter =
                |stream: &mut Stream| b'a' + u8::try_from(stream.below(LETTERS)).unwrap_or(0);
            let mut word: Vec<u8> = (0..length).map(|_| letter(&mut stream)).collect();
            word.push(b' ');
            if !words.contains(&word) {
                words.push(word);
            }
        }
        let following = |stream: &mut Stream| {
            let all = stream.shuffled(WORDS);
            all.iter().take(SUCCESSORS.len()).map(|word| usize::from(*word)).collect()
        };
        let next = (0..WORDS).map(|_| following(&mut stream)).collect();
        Self { words, next }
    }

    /// Text and its loss in nats if the language is known.
    fn text(&self, stream: &mut Stream) -> (Vec<u8>, f64) {
        let mut word = usize::from(stream.below(WORDS));
        let start: Vec<(usize, u16)> = (0..self.words.len()).map(|word| (word, 1)).collect();
        let mut text = Vec::new();
        let mut nats = self.loss(&mut text, &start, WORDS, word);
        while text.len() < LENGTH {
            let odds: Vec<(usize, u16)> = self.next[word].iter().copied().zip(SUCCESSORS).collect();
            word = pick(&odds, stream.below(ODDS));
            nats += self.loss(&mut text, &odds, ODDS, word);
        }
        (text, nats)
    }

    /// Appends a word, or its beginning where the text ends; the loss is that of all words that
    /// begin so.
    fn loss(&self, text: &mut Vec<u8>, odds: &[(usize, u16)], of: u16, word: usize) -> f64 {
        let room = LENGTH - text.len();
        let shown = &self.words[word][..self.words[word].len().min(room)];
        text.extend_from_slice(shown);
        let alike = odds.iter().filter(|(other, _)| self.words[*other].starts_with(shown));
        let odds: u16 = alike.map(|(_, odds)| odds).sum();
        -libm::log(f64::from(odds) / f64::from(of))
    }
}

fn pick(odds: &[(usize, u16)], mut drawn: u16) -> usize {
    for (word, odds) in odds {
        if drawn < *odds {
            return *word;
        }
        drawn -= odds;
    }
    0
}

/// Examples of the language of `seed`; bytes are their own tokens, and padding starts each input.
pub(super) fn examples(seed: &Digest, stream: &mut Stream, wanted: usize) -> Examples {
    let language = Language::new(seed);
    let mut all = Vec::with_capacity(wanted);
    let mut nats = 0.0;
    let mut seen = [0_usize; 256];
    for _ in 0..wanted {
        let (text, loss) = language.text(stream);
        nats += loss;
        text.iter().for_each(|byte| seen[usize::from(*byte)] += 1);
        let tokens: Vec<u16> = text.iter().map(|byte| u16::from(*byte)).collect();
        let inputs = std::iter::once(PAD).chain(tokens.iter().copied()).take(LENGTH).collect();
        all.push(Example { inputs, answers: (0..).zip(tokens).collect() });
    }
    let bytes = (wanted * LENGTH).max(1);
    let entropy = |seen: &usize| {
        let share = count(*seen) / count(bytes);
        if *seen == 0 {
            0.0
        } else {
            -share * libm::log(share)
        }
    };
    Examples {
        all,
        vocabulary: 256,
        floor_nats: seen.iter().map(entropy).sum(),
        ceiling_nats: nats / count(bytes),
    }
}
