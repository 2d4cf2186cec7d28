//! Whether a device can be trusted with a run.

pub mod observation;
