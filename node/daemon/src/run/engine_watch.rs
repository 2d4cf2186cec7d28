//! Whether the container engine answers, asked now and then: a node that runs nothing at the moment
//! would not find out otherwise, and its operator would not either.

use std::sync::Arc;
use std::time::Duration;

use node_core::machine::event::Event;
use node_runner::Engine;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::evaluate::Evaluator;
use super::perform::describe;

/// How often the engine is asked. Lower: idle traffic. Higher: an engine that has died is told
/// late, and one that is back gets work late.
const ASK_EVERY: Duration = Duration::from_secs(15);

/// Tells the loop whether the engine answers, until nobody listens any more.
pub(super) async fn keep_asking(evaluator: Arc<Evaluator>, events: mpsc::Sender<Event>) {
    let mut turns = tokio::time::interval(ASK_EVERY);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        let fault = evaluator.engine_fault().await;
        if events.send(Event::EngineAsked { fault }).await.is_err() {
            return;
        }
    }
}

/// Why the engine does not answer; `None` if it does.
pub(super) async fn fault_of(engine: &Engine) -> Option<String> {
    // A busy one may be late once, and one that was restarted ends the connection that is kept.
    if engine.ping().await.is_ok() {
        return None;
    }
    engine.ping().await.err().map(|fault| describe(&fault))
}
