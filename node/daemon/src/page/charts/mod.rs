//! What people would rather look at than read: drawn here, as vector graphics in the page.
//!
//! Each drawing says in words what it shows, and its page has the numbers in a table beside it.

mod bars;
mod canvas;
mod curve;
mod flow;
mod scale;
mod strip;

pub(super) use bars::{share, weights};
pub(super) use canvas::Svg;
pub(super) use curve::loss;
pub(super) use flow::{flow, Stage};
pub(super) use strip::{state_class, strip};
