//! What handlers record with.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use watchdog_core::audit::{Actor, Category, Client, Entry, Resource};

use super::context::Context;
use super::reject::Refusal;
use crate::error::Result;
use crate::log::AuditLog;
use crate::operation::Operation;

/// The audit log as one request sees it: what it records says who asks, from where, and in which
/// request. Without the layer of [`AuditLog::layer`] the handler does not run: the answer is 500.
#[derive(Clone, Debug)]
pub struct Audit {
    context: Context,
}

impl<S: Send + Sync> FromRequestParts<S> for Audit {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let context = parts.extensions.get::<Context>().cloned();
        Ok(Self { context: context.ok_or_else(Refusal::misconfigured)? })
    }
}

impl Audit {
    /// Begins an operation of this request. One that is dropped is recorded as `unknown`.
    ///
    /// # Errors
    ///
    /// As [`AuditLog::begin`]: nothing may be done then.
    pub async fn begin(
        &self,
        category: Category,
        action: impl Into<String>,
        resource: Resource,
    ) -> Result<Operation> {
        self.log().begin_entry(self.entry(category, action, resource)).await
    }

    /// An entry of this request, for [`AuditLog::record`].
    pub fn entry(
        &self,
        category: Category,
        action: impl Into<String>,
        resource: Resource,
    ) -> Entry {
        self.context.entry(self.log().inner().clock().now(), category, action, resource)
    }

    /// The log.
    pub fn log(&self) -> &AuditLog {
        self.context.log()
    }

    /// Who asks, as far as anybody has said by now; else [`Actor::anonymous`].
    pub fn actor(&self) -> Actor {
        self.context.actor()
    }

    /// Says who asks, for a handler that has just found out, by a token or a password. The entry of
    /// the request itself says so, too.
    pub fn set_actor(&self, actor: Actor) {
        self.context.set_actor(actor);
    }

    /// From where.
    pub fn client(&self) -> Client {
        self.context.client()
    }

    /// The id of the request, which its answer carries as `x-request-id`.
    pub fn request_id(&self) -> &str {
        self.context.request_id()
    }

    /// The trace id that the request brought along (W3C Trace Context). Nobody vouches for it.
    pub fn trace_id(&self) -> Option<&str> {
        self.context.trace_id()
    }
}
