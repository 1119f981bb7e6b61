//! Offers a batch of events to the sink.

use super::{Left, Pump};
use crate::store::{Event, StoredEvent};
use crate::telemetry;

/// What became of a batch.
#[derive(Debug, Default)]
pub(super) struct Offer<'a> {
    /// Handles of those that the sink has.
    pub(super) delivered: Vec<&'a str>,
    /// Handles of those that this process cannot deliver.
    pub(super) aside: Vec<&'a str>,
    pub(super) left: Left,
    /// Why the rest was not offered.
    pub(super) failure: Option<watchdog_core::Error>,
}

impl Pump {
    pub(super) async fn offer<'a>(&self, bucket: u16, batch: &'a [StoredEvent]) -> Offer<'a> {
        let mut offer = Offer::default();
        for stored in batch {
            let Some(event) = &stored.event else {
                // Of a newer release: a process of that release delivers it.
                offer.left.unread += 1;
                offer.aside.push(&stored.handle);
                telemetry::event("unread");
                continue;
            };
            match self.sink.record(self.keys.entry(bucket, event)).await {
                Ok(()) => {
                    telemetry::event("delivered");
                    if let Some(count) = dropped(event) {
                        telemetry::dropped(count);
                        tracing::error!(
                            bucket,
                            count,
                            "session events found no room in the outbox and are lost"
                        );
                    }
                    offer.delivered.push(&stored.handle);
                }
                Err(error) if error.is_retryable() => {
                    offer.failure = Some(error);
                    break;
                }
                Err(error) => {
                    offer.left.refused += 1;
                    offer.aside.push(&stored.handle);
                    telemetry::event("refused");
                    tracing::error!(%error, action = event.action, "the audit sink refused a session event; it stays in the outbox");
                }
            }
        }
        offer
    }
}

/// How many events were lost, when this is the event that tells of it.
fn dropped(event: &Event) -> Option<u64> {
    let (_, count) = event.details.iter().find(|(name, _)| name == "count")?;
    (event.action == "events_dropped").then(|| count.parse().ok()).flatten()
}
