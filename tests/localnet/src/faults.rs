//! What goes wrong between an endpoint and its clients, on purpose and adjustable at any time.
//!
//! Every listener has its own [`FaultSwitch`]. What concerns bytes is done where connections are
//! (`doors`): delay, silence, deafness, closing, refusing the handshake. What concerns requests is
//! done in front of the methods (`rpc::middleware`): refusing and slowing down single methods,
//! never answering some. What concerns the chain is done by `rpc::endpoint`: lagging, freezing,
//! losing transactions.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use thiserror::Error;
use tokio::sync::watch;

/// The faults of one listener. The default has none.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Faults {
    /// Everything the client is to hear arrives this much later, in milliseconds. Requests on
    /// their way do not wait for each other, so a round trip takes this long whatever else goes on.
    pub delay_ms: u64,
    /// Single methods that take this much longer, in milliseconds.
    pub slow_ms: BTreeMap<String, u64>,
    /// Requests are carried out and nothing is answered; what was held back comes when this ends.
    pub silent: bool,
    /// Requests are not even read until this ends.
    pub deaf: bool,
    /// Share of the requests that are never answered, 0 to 1.
    pub silence_share: f64,
    /// Connections are closed, open ones and new ones.
    pub down: bool,
    /// New connections get this HTTP status, such as 429, and are closed.
    pub handshake_status: Option<u16>,
    /// Methods that are refused with this JSON-RPC error code, such as -32005.
    pub refuse: BTreeMap<String, i32>,
    /// The endpoint stands this many blocks back.
    pub lag_blocks: u32,
    /// The endpoint sees no new blocks.
    pub frozen: bool,
    /// Transactions are taken in and never reach the pool.
    pub lose_transactions: bool,
}

/// A change of faults that cannot be made.
#[derive(Debug, Error)]
pub enum FaultError {
    /// It names something that is not there, or of another kind.
    #[error("not a fault: {0}")]
    Unreadable(#[source] serde_json::Error),
    /// It is not an object.
    #[error("faults are an object, such as {{\"listener\": 0, \"delay_ms\": 50}}")]
    NotAnObject,
    /// There is no such listener.
    #[error("there is no listener {listener}; they are numbered from 0 to {last}")]
    NoSuchListener {
        /// The number asked for.
        listener: usize,
        /// The last there is.
        last: usize,
    },
    /// A share that is none.
    #[error("`silence_share` is {0}; it goes from 0 to 1")]
    Share(f64),
}

/// One listener's faults, as those see them who commit them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Present {
    pub(crate) faults: Faults,
    /// The moment at which the endpoint was frozen.
    pub(crate) frozen_at: Option<u64>,
    /// How often all connections were closed.
    pub(crate) closings: u64,
    /// Grows with every change.
    changes: u64,
}

/// One listener's faults.
#[derive(Debug)]
pub struct FaultSwitch {
    present: watch::Sender<Present>,
    dice: Mutex<u64>,
}

impl FaultSwitch {
    /// Without faults. Two of the same seed leave the same requests without an answer.
    pub fn new(seed: u64) -> Self {
        Self { present: watch::Sender::default(), dice: Mutex::new(seed) }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Present> {
        self.present.subscribe()
    }

    /// The faults at present.
    pub fn faults(&self) -> Faults {
        self.present.borrow().faults.clone()
    }

    pub(crate) fn frozen_at(&self) -> Option<u64> {
        self.present.borrow().frozen_at
    }

    /// Sets all faults. `moment` is the newest, at which the endpoint stays if it is frozen.
    pub fn set(&self, faults: Faults, moment: u64) {
        self.present.send_modify(|present| {
            present.frozen_at = faults.frozen.then(|| present.frozen_at.unwrap_or(moment));
            present.faults = faults;
            present.changes += 1;
        });
    }

    /// Closes every open connection; new ones are taken.
    pub fn close_connections(&self) {
        self.present.send_modify(|present| present.closings += 1);
    }

    fn changes(&self) -> u64 {
        self.present.borrow().changes
    }

    /// Whether the next request stays without an answer.
    pub(crate) fn next_is_lost(&self) -> bool {
        let share = self.present.borrow().faults.silence_share;
        if share <= 0.0 {
            return false;
        }
        let mut dice = self.dice.lock().unwrap_or_else(PoisonError::into_inner);
        let roll = u32::try_from(splitmix(&mut dice) >> 32).unwrap_or(0);
        f64::from(roll) < share * f64::from(u32::MAX)
    }
}

/// The next number of a row that looks like chance and is the same every time (`SplitMix64`).
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A change of some listeners' faults, as JSON describes it.
///
/// ```json
/// {"listener": 0, "delay_ms": 50, "refuse": {"state_call": -32005}, "for_ms": 2000}
/// ```
///
/// Beside the fields of [`Faults`], of which those not named stay as they are:
///
/// - `listener`: which one; all without it.
/// - `clear`: all other faults end.
/// - `close`: open connections are closed, once.
/// - `for_ms`: after so long everything is as before, unless something was changed meanwhile.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
pub struct FaultChange {
    #[serde(default)]
    listener: Option<usize>,
    #[serde(default)]
    clear: bool,
    #[serde(default)]
    close: bool,
    #[serde(default)]
    for_ms: Option<u64>,
    #[serde(skip)]
    fields: serde_json::Map<String, Value>,
}

impl FaultChange {
    /// Reads a change.
    ///
    /// # Errors
    ///
    /// [`FaultError`] for anything that is not one.
    pub fn from_json(json: Value) -> Result<Self, FaultError> {
        let Value::Object(mut fields) = json else { return Err(FaultError::NotAnObject) };
        let mut own = serde_json::Map::new();
        for name in ["listener", "clear", "close", "for_ms"] {
            if let Some(value) = fields.remove(name) {
                own.insert(name.to_owned(), value);
            }
        }
        let mut change: Self =
            serde_json::from_value(Value::Object(own)).map_err(FaultError::Unreadable)?;
        change.fields = fields;
        // Whatever is wrong with the fields is wrong with them alone.
        change.applied_to(&Faults::default())?;
        Ok(change)
    }

    fn applied_to(&self, before: &Faults) -> Result<Faults, FaultError> {
        let before = if self.clear { Faults::default() } else { before.clone() };
        let mut all = serde_json::to_value(before).map_err(FaultError::Unreadable)?;
        if let Some(all) = all.as_object_mut() {
            all.extend(self.fields.clone());
        }
        let faults: Faults = serde_json::from_value(all).map_err(FaultError::Unreadable)?;
        if !(0.0..=1.0).contains(&faults.silence_share) {
            return Err(FaultError::Share(faults.silence_share));
        }
        Ok(faults)
    }
}

impl std::str::FromStr for FaultChange {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::from_json(serde_json::from_str(text).map_err(FaultError::Unreadable)?)
    }
}

/// The faults of all listeners.
#[derive(Debug)]
pub struct Switchboard {
    switches: Vec<Arc<FaultSwitch>>,
}

impl Switchboard {
    /// For so many listeners.
    pub fn new(listeners: usize) -> Self {
        let switch = |seed: usize| FaultSwitch::new(u64::try_from(seed).unwrap_or(u64::MAX));
        Self { switches: (0..listeners).map(|seed| Arc::new(switch(seed))).collect() }
    }

    /// One listener's switch.
    pub fn switch(&self, listener: usize) -> Option<&Arc<FaultSwitch>> {
        self.switches.get(listener)
    }

    /// All listeners' faults in their order.
    pub fn faults(&self) -> Vec<Faults> {
        self.switches.iter().map(|switch| switch.faults()).collect()
    }

    /// Makes a change. With `for_ms` it needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`FaultError`]; nothing was changed.
    pub fn change(&self, change: &FaultChange, moment: u64) -> Result<(), FaultError> {
        let chosen = match change.listener {
            None => self.switches.clone(),
            Some(listener) => match self.switches.get(listener) {
                Some(switch) => vec![switch.clone()],
                None => {
                    let last = self.switches.len().saturating_sub(1);
                    return Err(FaultError::NoSuchListener { listener, last });
                }
            },
        };
        for switch in chosen {
            let before = switch.faults();
            switch.set(change.applied_to(&before)?, moment);
            if change.close {
                switch.close_connections();
            }
            if let Some(ms) = change.for_ms {
                tokio::spawn(restore(switch, before, Duration::from_millis(ms), moment));
            }
        }
        Ok(())
    }
}

async fn restore(switch: Arc<FaultSwitch>, before: Faults, after: Duration, moment: u64) {
    let changes = switch.changes();
    tokio::time::sleep(after).await;
    if switch.changes() == changes {
        switch.set(before, moment);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_change_leaves_what_it_does_not_name() {
        let board = Switchboard::new(2);
        let change = |json| board.change(&FaultChange::from_json(json).unwrap(), 0).unwrap();
        change(json!({ "delay_ms": 50 }));
        change(json!({ "listener": 1, "lag_blocks": 3 }));
        let [first, second] = board.faults().try_into().unwrap();
        assert_eq!((first.delay_ms, first.lag_blocks), (50, 0));
        assert_eq!((second.delay_ms, second.lag_blocks), (50, 3));
        change(json!({ "listener": 1, "clear": true, "silent": true }));
        assert_eq!(board.faults()[1], Faults { silent: true, ..Faults::default() });
    }

    #[test]
    fn what_is_no_fault_is_refused_with_a_reason() {
        let board = Switchboard::new(1);
        let table = [
            (json!({ "dely_ms": 50 }), "dely_ms"),
            (json!({ "delay_ms": "50" }), "50"),
            (json!([1]), "object"),
            (json!({ "silence_share": 1.5 }), "0 to 1"),
        ];
        for (json, said) in table {
            let error = FaultChange::from_json(json).unwrap_err();
            let source = std::error::Error::source(&error).map(ToString::to_string);
            let text = format!("{error} {}", source.unwrap_or_default());
            assert!(text.contains(said), "{text}");
        }
        let change = FaultChange::from_json(json!({ "listener": 1 })).unwrap();
        let error = board.change(&change, 0).unwrap_err();
        assert!(error.to_string().contains("no listener 1"), "{error}");
    }

    #[test]
    fn the_share_of_lost_requests_is_about_what_was_asked_for_and_repeats() {
        let lost = || {
            let switch = FaultSwitch::new(7);
            switch.set(Faults { silence_share: 0.25, ..Faults::default() }, 0);
            (0..4000).map(|_| switch.next_is_lost()).collect::<Vec<_>>()
        };
        let count = lost().into_iter().filter(|lost| *lost).count();
        assert!((900..1100).contains(&count), "{count}");
        assert_eq!(lost(), lost());
    }
}
