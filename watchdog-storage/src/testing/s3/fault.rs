//! What can go wrong between a client and the store.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Frame;
use hyper::header::{CONTENT_LENGTH, ETAG};
use hyper::{Method, StatusCode};
use s3s::service::S3Service;
use s3s::{Body, HttpRequest, HttpResponse};

/// The largest body that a fault looks at.
const MAX_BODY: usize = 1 << 30;

/// What goes wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The request is read and answered with this status; the store does not see it. 503 comes with
    /// the code `SlowDown`.
    Status(u16),
    /// A write is answered with 409, and nothing is written.
    Conflict,
    /// The store executes the request, and the connection is cut before the answer.
    LoseReply,
    /// The connection is cut and the store does not see the request.
    Cut,
    /// The answer waits. The store executes the request first.
    Slow(Duration),
    /// A read ends in the middle of its content.
    Truncate,
    /// A read has one bit of its content turned over.
    Flip,
    /// A write is answered with 200, and nothing is stored.
    NotStored,
    /// A write goes through although the object exists: the condition is ignored, as Garage 2.5
    /// does.
    IgnoreCondition,
}

impl Fault {
    fn applies_to(&self, method: &Method) -> bool {
        match self {
            Self::Truncate | Self::Flip => method == Method::GET,
            Self::Conflict | Self::NotStored | Self::IgnoreCondition => method == Method::PUT,
            Self::Status(_) | Self::LoseReply | Self::Cut | Self::Slow(_) => true,
        }
    }
}

/// Faults that are still to happen, in order.
#[derive(Debug, Default)]
pub(super) struct Faults(Mutex<VecDeque<Fault>>);

impl Faults {
    pub(super) fn queue(&self, fault: Fault, times: usize) {
        self.lock().extend(std::iter::repeat_n(fault, times));
    }

    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    /// Takes the first fault that applies to a request.
    pub(super) fn take(&self, method: &Method) -> Option<Fault> {
        let mut faults = self.lock();
        let place = faults.iter().position(|fault| fault.applies_to(method))?;
        faults.remove(place)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Fault>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers as the store does.
pub(super) async fn execute(request: HttpRequest, store: &S3Service) -> io::Result<HttpResponse> {
    store.call(request).await.map_err(io::Error::other)
}

/// Answers as the fault wants it. An error cuts the connection.
pub(super) async fn answer(
    fault: Fault,
    mut request: HttpRequest,
    store: &S3Service,
    root: &Path,
) -> io::Result<HttpResponse> {
    match fault {
        Fault::Status(status) => refuse(request, status, "SlowDown").await,
        Fault::Conflict => refuse(request, 409, "ConditionalRequestConflict").await,
        Fault::LoseReply => {
            execute(request, store).await?;
            Err(cut())
        }
        Fault::Cut => Err(cut()),
        Fault::Slow(delay) => {
            let response = execute(request, store).await?;
            tokio::time::sleep(delay).await;
            Ok(response)
        }
        Fault::Truncate => truncate(execute(request, store).await?).await,
        Fault::Flip => flip(execute(request, store).await?).await,
        Fault::NotStored => {
            read(request.body_mut()).await?;
            let mut response = HttpResponse::new(Body::empty());
            response.headers_mut().insert(ETAG, hyper::header::HeaderValue::from_static("\"0\""));
            Ok(response)
        }
        Fault::IgnoreCondition => {
            // The condition is signed, so it stays; what it would find goes.
            if let Some(file) = file(root, request.uri()) {
                let _ = std::fs::remove_file(file);
            }
            execute(request, store).await
        }
    }
}

/// The file behind an object.
pub(super) fn file(root: &Path, uri: &hyper::Uri) -> Option<PathBuf> {
    let path = format!("file://{}{}", root.display(), uri.path());
    url::Url::parse(&path).ok().and_then(|url| url.to_file_path().ok())
}

pub(super) async fn refuse(
    mut request: HttpRequest,
    status: u16,
    code: &str,
) -> io::Result<HttpResponse> {
    read(request.body_mut()).await?;
    let document =
        format!("<Error><Code>{code}</Code><Message>a fault of the test</Message></Error>");
    let mut response = HttpResponse::new(Body::from(document));
    *response.status_mut() = StatusCode::from_u16(status).map_err(io::Error::other)?;
    Ok(response)
}

/// Announces the whole length and sends half of it.
async fn truncate(mut response: HttpResponse) -> io::Result<HttpResponse> {
    let content = read(response.body_mut()).await?;
    response.headers_mut().insert(CONTENT_LENGTH, content.len().into());
    let half = content.slice(..content.len() / 2);
    // A body that knows its length would be held to the announcement; this one does not tell.
    *response.body_mut() = Body::http_body(Unannounced(Some(half)));
    Ok(response)
}

/// A body of one frame that keeps its length to itself.
struct Unannounced(Option<Bytes>);

impl hyper::body::Body for Unannounced {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|content| Ok(Frame::data(content))))
    }
}

async fn flip(mut response: HttpResponse) -> io::Result<HttpResponse> {
    let mut content = read(response.body_mut()).await?.to_vec();
    if let Some(byte) = content.last_mut() {
        *byte ^= 1;
    }
    *response.body_mut() = Body::from(content);
    Ok(response)
}

async fn read(body: &mut Body) -> io::Result<Bytes> {
    body.store_all_limited(MAX_BODY).await.map_err(io::Error::other)
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "a fault of the test")
}
