//! Faults in front of the methods: refused, slow, and never answered requests.

use crate::faults::FaultSwitch;
use jsonrpsee::{
    core::middleware::{Batch, BatchEntry, BatchEntryErr, Notification, RpcServiceT},
    server::MethodResponse,
    types::{ErrorObjectOwned, Request},
};
use std::{future::Future, sync::Arc, time::Duration};

/// A JSON-RPC service behind a listener's faults.
#[derive(Clone, Debug)]
pub(crate) struct Faulty<S> {
    pub(crate) inner: S,
    pub(crate) switch: Arc<FaultSwitch>,
}

enum Verdict {
    Answer { after: Duration },
    Refuse(ErrorObjectOwned),
    Never,
}

impl<S> Faulty<S> {
    fn judge(&self, method: &str) -> Verdict {
        if self.switch.next_is_lost() {
            return Verdict::Never;
        }
        let faults = self.switch.faults();
        if let Some(code) = faults.refuse.get(method) {
            let message = "the endpoint is over its limit";
            return Verdict::Refuse(ErrorObjectOwned::owned(*code, message, None::<()>));
        }
        let ms = faults.slow_ms.get(method).copied().unwrap_or(0);
        Verdict::Answer { after: Duration::from_millis(ms) }
    }
}

/// Waits only if there is something to wait for: a timer of no length takes up to a millisecond.
async fn wait(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

impl<S> RpcServiceT for Faulty<S>
where
    S: RpcServiceT<
            MethodResponse = MethodResponse,
            NotificationResponse = MethodResponse,
            BatchResponse = MethodResponse,
        > + Clone
        + Send
        + Sync
        + 'static,
{
    type MethodResponse = MethodResponse;
    type NotificationResponse = MethodResponse;
    type BatchResponse = MethodResponse;

    fn call<'a>(
        &self,
        request: Request<'a>,
    ) -> impl Future<Output = Self::MethodResponse> + Send + 'a {
        let inner = self.inner.clone();
        let verdict = self.judge(request.method_name());
        async move {
            match verdict {
                Verdict::Answer { after } => {
                    wait(after).await;
                    inner.call(request).await
                }
                Verdict::Refuse(error) => MethodResponse::error(request.id, error),
                // The server drops this when the connection ends.
                Verdict::Never => std::future::pending().await,
            }
        }
    }

    fn batch<'a>(&self, batch: Batch<'a>) -> impl Future<Output = Self::BatchResponse> + Send + 'a {
        let inner = self.inner.clone();
        let mut slowest = Duration::ZERO;
        let mut answered = true;
        let entries = batch.into_iter().map(|entry| match entry {
            Ok(BatchEntry::Call(request)) => match self.judge(request.method_name()) {
                Verdict::Answer { after } => {
                    slowest = slowest.max(after);
                    Ok(BatchEntry::Call(request))
                }
                Verdict::Refuse(error) => Err(BatchEntryErr::new(request.id, error)),
                Verdict::Never => {
                    answered = false;
                    Ok(BatchEntry::Call(request))
                }
            },
            other => other,
        });
        let batch = Batch::from(entries.collect());
        async move {
            if !answered {
                std::future::pending::<()>().await;
            }
            wait(slowest).await;
            inner.batch(batch).await
        }
    }

    fn notification<'a>(
        &self,
        notification: Notification<'a>,
    ) -> impl Future<Output = Self::NotificationResponse> + Send + 'a {
        self.inner.notification(notification)
    }
}
