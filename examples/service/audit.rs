//! The audit log: `/audit`, `/audit/archive`, `/audit/verify`, `/audit/erase`; who may is in
//! `routes.rs`.

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query as QueryString, State};
use serde::Deserialize;
use serde_json::{Value, json};
use watchdog_audit::{AuditReader, Cursor, Query, Reader, Record};
use watchdog_core::Timestamp;
use watchdog_core::audit::{Actor, Category, Outcome, Resource};
use watchdog_session::MAX_USER_BYTES;

use crate::app::{App, ended};
use crate::failure::Failure;
use crate::principal::Principal;

/// What `GET /audit` may ask for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Filter {
    actor: Option<String>,
    action: Option<String>,
    /// Kind and id of a resource, or its kind alone: `file/report.csv`, `file`.
    resource: Option<String>,
    outcome: Option<Outcome>,
    category: Option<Category>,
    request: Option<String>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    limit: Option<usize>,
    cursor: Option<String>,
}

impl Filter {
    fn query(self) -> Result<Query, Failure> {
        let mut query = Query::new();
        if let Some(actor) = self.actor {
            query = query.with_actor(Actor::user(actor));
        }
        if let Some(action) = self.action {
            query = query.with_action(action);
        }
        match self.resource.as_deref().map(|resource| resource.split_once('/')) {
            Some(Some((kind, id))) => query = query.with_resource(Resource::new(kind, id)),
            Some(None) => query = query.with_resource_kind(self.resource.unwrap_or_default()),
            None => {}
        }
        if let Some(outcome) = self.outcome {
            query = query.with_outcome(outcome);
        }
        if let Some(category) = self.category {
            query = query.with_category(category);
        }
        if let Some(request) = self.request {
            query = query.with_request_id(request);
        }
        if let Some(from) = self.from {
            query = query.with_from(from);
        }
        if let Some(to) = self.to {
            query = query.with_to(to);
        }
        if let Some(limit) = self.limit {
            query = query.with_limit(limit);
        }
        if let Some(cursor) = self.cursor {
            query = query.with_cursor(cursor.parse::<Cursor>()?);
        }
        Ok(query)
    }
}

/// `GET /audit`, with the parameters of [`Filter`]. A page is recorded before it is given out.
pub(crate) async fn read(
    State(app): State<App>,
    principal: Principal,
    filter: Result<QueryString<Filter>, QueryRejection>,
) -> Result<Json<Value>, Failure> {
    let QueryString(filter) = filter.map_err(|_| Failure::bad_request("invalid"))?;
    let query = filter.query()?;
    let who = Reader::new(principal.audit.actor(), principal.session.roles().to_vec());
    let page = AuditReader::new(app.audit.clone(), who).query(&query).await?;
    Ok(Json(json!({
        "records": page.records.iter().map(record).collect::<Vec<_>>(),
        "next": page.next.map(|cursor| cursor.to_string()),
        "objects_missing": page.objects_missing,
    })))
}

/// `POST /audit/archive`: seals and archives now.
pub(crate) async fn archive(
    State(app): State<App>,
    principal: Principal,
) -> Result<Json<Value>, Failure> {
    let mut operation = principal.begin(Category::Security, "audit.archived", whole_log()).await?;
    let archived = app.audit.seal_and_archive().await;
    if let Ok(done) = &archived {
        operation.detail("segments", done.segments);
        operation.detail("entries", done.entries);
    }
    let done = ended(operation, archived).await?;
    Ok(Json(json!({
        "segments": done.segments, "entries": done.entries, "objects": done.objects,
    })))
}

/// `GET` and `POST /audit/verify`: checks everything and names the first thing that does not fit.
pub(crate) async fn verify(
    State(app): State<App>,
    principal: Principal,
) -> Result<Json<Value>, Failure> {
    let mut operation = principal.begin(Category::Security, "audit.verified", whole_log()).await?;
    let found = match app.audit.verify().await {
        Ok(found) => found,
        Err(error) => return ended(operation, Err(error)).await,
    };
    let fault = found.fault.as_ref().map(ToString::to_string);
    if let Some(fault) = &fault {
        operation.detail("fault", fault.as_str());
    }
    let outcome = if found.is_sound() { Outcome::Success } else { Outcome::Failure };
    operation.end(outcome).await?;
    Ok(Json(json!({
        "sound": found.is_sound(),
        "manifests": found.manifests,
        "objects": found.objects,
        "entries": found.entries,
        "waiting": found.waiting,
        "fault": fault,
    })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Erasure {
    user: String,
    reason: String,
}

/// Longest reason for an erasure, in bytes.
const MAX_REASON_BYTES: usize = 1024;

/// `POST /audit/erase` with `user` and `reason`: what the log holds of a user becomes unreadable,
/// everywhere and for good. The log records it itself, as `audit.subject_erased` on a pseudonym:
/// the name of the user is nowhere in that entry.
pub(crate) async fn erase(
    State(app): State<App>,
    principal: Principal,
    body: Result<Json<Erasure>, JsonRejection>,
) -> Result<Json<Value>, Failure> {
    let Json(Erasure { user, reason }) = body?;
    if user.is_empty() || user.len() > MAX_USER_BYTES || reason.len() > MAX_REASON_BYTES {
        return Err(Failure::bad_request("invalid"));
    }
    // The entry that records it has the name of who did it.
    if user == principal.session.user() {
        return Err(Failure::bad_request("own"));
    }
    let erased = app.audit.erase(&Actor::user(user), principal.audit.actor(), &reason).await?;
    Ok(Json(json!({ "keys": erased.keys })))
}

fn whole_log() -> Resource {
    Resource::new("audit_log", "")
}

fn record(record: &Record) -> Value {
    json!({
        "writer": record.writer.to_string(),
        "sequence": record.sequence,
        "recorded_at": record.recorded_at,
        "readable": record.is_readable,
        "entry": record.entry,
    })
}
