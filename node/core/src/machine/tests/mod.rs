//! The machine in a simulated world: claims about what it does, step by step and by seed.
//!
//! `world`, `host`, `chain`, `perform`, `asking`, `operator`, `checks` and `prng` make the world;
//! the other files hold claims.

mod adverse;
mod asking;
mod chain;
mod checks;
mod clocks;
mod devices;
mod epochs;
mod exchange;
mod funnel;
mod holds;
mod horizon;
mod host;
mod intake;
mod lack;
mod leases;
mod mirrors;
mod operator;
mod past;
mod perform;
mod prng;
mod random;
mod replicas;
mod restart;
mod retention;
mod reviews;
mod stop;
mod strikes;
mod takeover;
mod trained;
mod untrained;
mod weights;
mod world;
