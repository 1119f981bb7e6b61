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
    /// Bytes that are still to come, where that was announced: a server that has them does not ask
    /// whether there are more.
    left: Option<u64>,
    /// Taken when it is told.
    exchange: Option<Exchange>,
}

impl WatchedBody {
    pub(super) fn new(
        inner: Body,
        status: StatusCode,
        length: Option<u64>,
        exchange: Exchange,
    ) -> Self {
        let left = length.or_else(|| inner.size_hint().exact());
        Self { inner, status, left, exchange: Some(exchange) }
    }

    /// Whether this frame is the last one that anybody asks for.
    fn is_last(&mut self, frame: &Frame<Bytes>) -> bool {
        let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
        self.left = self.left.map(|left| left.saturating_sub(bytes));
        self.left == Some(0) || self.inner.is_end_stream()
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
            Poll::Ready(Some(Ok(frame))) if !self.is_last(frame) => {}
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
