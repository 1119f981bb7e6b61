//! The body of an answer, watched until it has gone.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Error;
use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::exchange::Exchange;
use super::policy::Ending;

/// A body that tells an exchange whether the client took it whole.
#[derive(Debug)]
pub(super) struct WatchedBody {
    inner: Body,
    status: StatusCode,
    /// Taken when it is told.
    exchange: Option<Exchange>,
}

impl WatchedBody {
    pub(super) fn new(inner: Body, status: StatusCode, exchange: Exchange) -> Self {
        Self { inner, status, exchange: Some(exchange) }
    }

    fn end(&mut self, ending: Ending) {
        if let Some(exchange) = self.exchange.take() {
            exchange.queue(ending);
        }
    }
}

impl HttpBody for WatchedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        match &polled {
            Poll::Pending => {}
            // The server may not ask again when it knows that this was the last one.
            Poll::Ready(Some(Ok(_))) if !self.inner.is_end_stream() => {}
            Poll::Ready(Some(Ok(_)) | None) => {
                let status = self.status;
                self.end(Ending::Answered(status));
            }
            Poll::Ready(Some(Err(_))) => self.end(Ending::Failed),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for WatchedBody {
    fn drop(&mut self) {
        let status = self.status;
        self.end(Ending::Cut(status));
    }
}
