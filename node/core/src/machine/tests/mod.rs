//! The machine in a simulated world: claims about what it does, step by step and by seed.
//!
//! `world`, `host`, `chain`, `perform`, `checks` and `prng` make the world; the other files hold
//! claims.

mod chain;
mod checks;
mod epochs;
mod exchange;
mod host;
mod intake;
mod leases;
mod perform;
mod prng;
mod random;
mod restart;
mod stop;
mod weights;
mod world;
