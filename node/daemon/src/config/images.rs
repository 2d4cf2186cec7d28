//! Container images.

use super::key::{Default, Key, Kind};
use super::reader::{text, Reader};
use super::Section;

const EVALUATOR: Key =
    Key::new("images.evaluator", Kind::Text, Default::Value("assay-evaluator:cpu"))
        .about(
            "The image in which submissions run. It has to be on the host: nothing is pulled. \
             Its id is part of every receipt.",
        )
        .example("\"assay-evaluator:cpu\"");

pub(super) const SECTION: Section =
    Section { name: "images", about: "Container images.", keys: &[EVALUATOR] };

/// Container images, as the engine knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    /// The image in which submissions run.
    pub evaluator: String,
}

impl Images {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self { evaluator: reader.take(&EVALUATOR, text)? })
    }
}
