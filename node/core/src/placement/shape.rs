//! The different needs among what waits, and what could start with each of them now.

use std::collections::BTreeMap;

use crate::limits::SHAPES_MAX;
use crate::unit::MonoMs;

use super::request::Needs;

/// Which runs with some needs could start now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Room {
    /// None: nowhere are so many devices free.
    None,
    /// Those that have ended by then: the devices are kept for another.
    Until(MonoMs),
    /// Any.
    Any,
}

#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) needs: Needs,
    pub(super) waiting: usize,
    pub(super) room: Room,
    /// Whether devices came or went since `room` was found out.
    pub(super) is_stale: bool,
}

/// Shapes by number; a number is used again when nothing with its needs waits.
#[derive(Clone, Debug, Default)]
pub(super) struct Shapes {
    shapes: Vec<Shape>,
    by_needs: BTreeMap<Needs, usize>,
}

impl Shapes {
    /// Counts one more request with these needs. `None` if there would be more than `most` shapes.
    pub(super) fn enter(&mut self, needs: Needs, most: usize) -> Option<usize> {
        let known = self.by_needs.get(&needs).copied();
        let index = known.or_else(|| self.create(needs, most))?;
        let shape = self.shapes.get_mut(index)?;
        shape.waiting = shape.waiting.saturating_add(1);
        if shape.waiting == 1 {
            shape.is_stale = true;
        }
        Some(index)
    }

    fn create(&mut self, needs: Needs, most: usize) -> Option<usize> {
        let unused = self.shapes.iter().position(|shape| shape.waiting == 0);
        let more = (self.shapes.len() < most).then_some(self.shapes.len());
        // A number is kept for as long as it can be: the same needs often come again.
        let index = if self.shapes.len() < SHAPES_MAX { more } else { unused.or(more) }?;
        let shape = Shape { needs, waiting: 0, room: Room::None, is_stale: true };
        if let Some(old) = self.shapes.get_mut(index) {
            self.by_needs.remove(&old.needs);
            *old = shape;
        } else {
            self.shapes.push(shape);
        }
        self.by_needs.insert(needs, index);
        Some(index)
    }

    /// Counts one request less.
    pub(super) fn leave(&mut self, index: usize) {
        if let Some(shape) = self.shapes.get_mut(index) {
            shape.waiting = shape.waiting.saturating_sub(1);
        }
    }

    /// Those that something waits with.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Shape> {
        self.shapes.iter().filter(|shape| shape.waiting > 0)
    }

    pub(super) fn room(&self, index: usize) -> Room {
        self.shapes.get(index).map_or(Room::None, |shape| shape.room)
    }

    pub(super) fn waiting_mut(&mut self) -> impl Iterator<Item = &mut Shape> {
        self.shapes.iter_mut().filter(|shape| shape.waiting > 0)
    }

    /// Marks those whose room may be another by now.
    pub(super) fn mark(&mut self, is_concerned: impl Fn(&Shape) -> bool) {
        for shape in &mut self.shapes {
            shape.is_stale = shape.is_stale || is_concerned(shape);
        }
    }
}
