//! Streams of messages to one peer, each with a place and a deadline, so that a peer that reads
//! slowly cannot keep what is being sent in memory.

use std::time::Duration;

use node_core::id::Hotkey;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::budget::Place;
use crate::limits::STREAM_MS_MAX;
use crate::refusal::ServeRefusal;

/// Messages that wait for the connection.
const QUEUED_MAX: usize = 2;

/// A stream of answers.
pub(super) type Messages<T> = ReceiverStream<Result<T, Status>>;

/// Sends `messages` from a task of its own, which ends when all are sent, when the peer goes away,
/// or at the deadline; then the memory and the place are free again.
pub(super) fn send_all<T: Send + 'static>(
    messages: impl Iterator<Item = T> + Send + 'static,
    place: Place<Hotkey>,
) -> Messages<T> {
    let (sender, receiver) = mpsc::channel(QUEUED_MAX);
    let deadline = Duration::from_millis(STREAM_MS_MAX);
    tokio::spawn(async move {
        let _place = place;
        let all = send_each(messages, &sender);
        if tokio::time::timeout(deadline, all).await.is_err() {
            // A stream that just ended would read as complete. The queue may be full: then the
            // peer does not read, and the connection's own limits end it.
            drop(sender.try_send(Err(ServeRefusal::NoAnswer.status())));
        }
    });
    ReceiverStream::new(receiver)
}

async fn send_each<T>(messages: impl Iterator<Item = T>, sender: &mpsc::Sender<Result<T, Status>>) {
    for message in messages {
        if sender.send(Ok(message)).await.is_err() {
            return;
        }
    }
}
