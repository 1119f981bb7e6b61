//! The one gate to the server: what may pass, and what becomes of it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use fred::clients::Client;
use fred::interfaces::MetricsInterface as _;
use fred::types::Value as Wire;
use tokio::runtime::Handle;

use super::metric::{Meter, Timing};
use super::pulse::Place;
use super::slot::Seat;
use super::{Key, Redis, Value, failure};
use crate::error::{Error, ErrorKind, Result};

/// What the client gives back.
pub(super) type Answer = Result<Wire, fred::error::Error>;

impl Redis {
    /// Runs a command that changes nothing.
    pub(super) async fn read<F>(
        &self,
        meter: impl Into<Meter>,
        key: Option<&Key>,
        call: impl FnOnce(Client) -> F,
    ) -> Result<Value>
    where
        F: Future<Output = Answer>,
    {
        let (admitted, client) = self.admit(meter.into(), key)?;
        // A future handed to another one is held twice in it: make it where it is awaited.
        let answer = call(client).await;
        admitted.finish(answer)
    }

    /// Runs a command that changes something. It goes on when its caller goes away: the client
    /// forgets a command that ran out of time, but would send one whose caller left even hours
    /// later, when the server is back.
    pub(super) async fn write<F>(
        &self,
        meter: impl Into<Meter>,
        key: Option<&Key>,
        call: impl FnOnce(Client) -> F + Send + 'static,
    ) -> Result<Value>
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let (admitted, client) = self.admit(meter.into(), key)?;
        let call = async move {
            let answer = call(client).await;
            admitted.finish(answer)
        };
        Unstoppable::new(call, &self.inner.runtime).await
    }

    /// What waits in front of the server is bounded twice: calls in flight by their number, calls
    /// that were given up while the server is away by the client's queue.
    fn admit(&self, meter: Meter, key: Option<&Key>) -> Result<(Admitted, Client)> {
        let inner = &*self.inner;
        let timing = Timing::start(meter);
        let slot = match &*inner.slots {
            [only] => only,
            slots => &slots[inner.next.fetch_add(1, Ordering::Relaxed) % slots.len()],
        };
        if slot.is_closed() {
            let name = timing.name();
            timing.failed(ErrorKind::Unavailable);
            return Err(Error::new(ErrorKind::Unavailable, format!("{name} after close")));
        }
        let seat = slot.seat();
        let pass = Pass::take(&inner.in_flight, inner.max_buffer);
        match pass {
            Some(pass) if seat.client.command_queue_len() < inner.max_buffer => {
                let (client, place) = (seat.client.clone(), seat.place(key));
                Ok((Admitted { seat, place, timing, _pass: pass }, client))
            }
            _ => {
                let name = timing.name();
                timing.failed(ErrorKind::Saturated);
                let context = format!("{name} refused: too many calls in flight");
                Err(Error::new(ErrorKind::Saturated, context))
            }
        }
    }
}

/// One call in flight.
struct Pass(Arc<AtomicUsize>);

impl Pass {
    /// `None` when `most` are in flight.
    fn take(in_flight: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let pass = Self(Arc::clone(in_flight));
        (pass.0.fetch_add(1, Ordering::Relaxed) < most).then_some(pass)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A call that was let in: measured, with our errors.
struct Admitted {
    seat: Seat,
    place: Place,
    timing: Timing,
    _pass: Pass,
}

impl Admitted {
    fn finish(self, answer: Answer) -> Result<Value> {
        match answer {
            Ok(wire) => {
                self.seat.learn(self.place, None);
                self.timing.succeeded();
                Value::from_wire(wire)
            }
            Err(error) => {
                let error = failure::error(self.timing.name(), &error);
                self.seat.learn(self.place, Some(error.kind()));
                self.timing.failed(error.kind());
                Err(error)
            }
        }
    }
}

/// A call that goes on in a task of its own when its caller drops it half-way. One that nobody
/// waited for yet has sent nothing, and is dropped.
struct Unstoppable<'a, F: Future<Output: Send> + Send + 'static> {
    call: Option<Pin<Box<F>>>,
    is_begun: bool,
    /// Where it goes on.
    runtime: &'a Handle,
}

impl<'a, F: Future<Output: Send> + Send + 'static> Unstoppable<'a, F> {
    fn new(call: F, runtime: &'a Handle) -> Self {
        Self { call: Some(Box::pin(call)), is_begun: false, runtime }
    }
}

impl<F: Future<Output: Send> + Send + 'static> Future for Unstoppable<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.is_begun = true;
        // Nobody polls what has ended; an end that never comes is the answer to whoever does.
        let Some(call) = &mut self.call else { return Poll::Pending };
        let polled = call.as_mut().poll(context);
        if polled.is_ready() {
            self.call = None;
        }
        polled
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for Unstoppable<'_, F> {
    fn drop(&mut self) {
        if let (Some(call), true) = (self.call.take(), self.is_begun) {
            self.runtime.spawn(call);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn as_many_pass_as_may_and_a_pass_returns() {
        let in_flight = Arc::new(AtomicUsize::new(0));
        let first = Pass::take(&in_flight, 2);
        let second = Pass::take(&in_flight, 2);
        assert!(first.is_some() && second.is_some());
        assert!(Pass::take(&in_flight, 2).is_none());
        drop(second);
        assert!(Pass::take(&in_flight, 2).is_some());
        drop(first);
        assert_eq!(in_flight.load(Ordering::Relaxed), 0);
    }

    /// A call that ends when it is told to, and says that it did.
    fn call()
    -> (impl Future<Output = ()> + Send + 'static, oneshot::Sender<()>, oneshot::Receiver<()>) {
        let (go, gone) = oneshot::channel();
        let (done, ended) = oneshot::channel();
        let call = async move {
            let _ = gone.await;
            let _ = done.send(());
        };
        (call, go, ended)
    }

    #[tokio::test]
    async fn a_call_dropped_half_way_goes_on() {
        let (call, go, ended) = call();
        let runtime = Handle::current();
        let mut call = Box::pin(Unstoppable::new(call, &runtime));
        assert!(poll_once(call.as_mut()).is_pending());
        drop(call);
        go.send(()).unwrap();
        ended.await.unwrap();
    }

    #[tokio::test]
    async fn a_call_that_nobody_waited_for_is_dropped() {
        let (call, _go, ended) = call();
        drop(Unstoppable::new(call, &Handle::current()));
        ended.await.unwrap_err();
    }

    #[tokio::test]
    async fn a_call_that_ended_is_not_begun_again() {
        let (call, go, ended) = call();
        go.send(()).unwrap();
        Unstoppable::new(call, &Handle::current()).await;
        ended.await.unwrap();
    }

    fn poll_once<F: Future>(call: Pin<&mut F>) -> Poll<F::Output> {
        call.poll(&mut Context::from_waker(std::task::Waker::noop()))
    }
}
