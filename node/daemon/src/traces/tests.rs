//! What is traced, under which ids, and what a collector that misbehaves may do to the node.

mod book;
mod queue;
mod world;
