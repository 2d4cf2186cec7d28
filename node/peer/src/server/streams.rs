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
/// or at the deadline; then the memory and the place are free again. A stream that was given up
/// ends with [`ServeRefusal::NoAnswer`], however late the peer reads on.
pub(super) fn send_all<T: Send + 'static>(
    messages: impl Iterator<Item = T> + Send + 'static,
    place: Place<Hotkey>,
) -> Messages<T> {
    // One more than may wait: the room for the word that a stream was given up, which would
    // otherwise read as complete.
    let (sender, receiver) = mpsc::channel(QUEUED_MAX + 1);
    let last_word = sender.clone().try_reserve_owned();
    tokio::spawn(async move {
        let _place = place;
        let Ok(last_word) = last_word else { return };
        let deadline = Duration::from_millis(STREAM_MS_MAX);
        if tokio::time::timeout(deadline, send_each(messages, &sender)).await.is_err() {
            last_word.send(Err(ServeRefusal::NoAnswer.status()));
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

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use tonic::Code;

    use super::*;
    use crate::budget::Budget;

    const PEER: Hotkey = Hotkey([1; 32]);

    #[tokio::test(start_paused = true)]
    async fn case_20_a_stream_that_nobody_reads_is_given_up_and_frees_its_place() {
        let budget = Budget::new(1, 1);
        let messages = send_all(0..100, budget.take(PEER).unwrap());
        assert!(budget.take(PEER).is_none());
        tokio::time::sleep(Duration::from_millis(STREAM_MS_MAX + 1)).await;
        assert!(budget.take(PEER).is_some());

        let late: Vec<_> = messages.collect().await;
        let (last, sent) = late.split_last().unwrap();
        assert_eq!(last.as_ref().unwrap_err().code(), Code::DeadlineExceeded);
        assert_eq!(sent.len(), QUEUED_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_is_read_or_left_frees_its_place_at_once() {
        let budget = Budget::new(1, 1);
        let messages = send_all(0..100, budget.take(PEER).unwrap());
        let all: Vec<_> = messages.map(|message| message.unwrap()).collect().await;
        assert_eq!(all, (0..100).collect::<Vec<_>>());

        tokio::task::yield_now().await;
        drop(send_all(0..100, budget.take(PEER).unwrap()));
        tokio::task::yield_now().await;
        assert!(budget.take(PEER).is_some());
    }
}
