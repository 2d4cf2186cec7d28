//! What placement promises, as claims; `properties` makes the same promises for random histories.

mod build;
mod checks;
mod properties;
mod queue;
mod rank;
mod texts;
