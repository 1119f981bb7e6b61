//! The audit log: `GET /audit`, `POST /audit/archive`, `POST /audit/verify`; for admins, as `routes.rs` says.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query as QueryString, State};
use serde::Deserialize;
use serde_json::{Value, json};
use watchdog_audit::{Cursor, Query, Record};
use watchdog_core::Timestamp;
use watchdog_core::audit::{Actor, Category, Outcome, Resource};

use crate::app::App;
use crate::failure::Failure;
use crate::principal::Principal;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Filter {
    actor: Option<String>,
    action: Option<String>,
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

/// `GET /audit?actor=&action=&from=&to=&limit=&cursor=`. Reading is recorded, too.
pub(crate) async fn read(
    State(app): State<App>,
    principal: Principal,
    filter: Result<QueryString<Filter>, QueryRejection>,
) -> Result<Json<Value>, Failure> {
    let log = Resource::new("audit_log", "");
    let QueryString(filter) = filter.map_err(|_| Failure::bad_request("invalid"))?;
    let asked = format!("{filter:?}");
    let page = app.audit.query(&filter.query()?).await?;
    let entry = principal
        .entry(Category::Access, "audit.read", log)
        .with_outcome(Outcome::Success)
        .with_detail("filter", asked)
        .with_detail("records", page.records.len());
    app.audit.record(entry).await?;
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
    let log = Resource::new("audit_log", "");
    let done = app.audit.seal_and_archive().await?;
    let entry = principal
        .entry(Category::Security, "audit.archived", log)
        .with_outcome(Outcome::Success)
        .with_detail("segments", done.segments)
        .with_detail("entries", done.entries);
    app.audit.record(entry).await?;
    Ok(Json(json!({
        "segments": done.segments, "entries": done.entries, "objects": done.objects,
    })))
}

/// `POST /audit/verify`: checks everything and names the first thing that does not fit.
pub(crate) async fn verify(
    State(app): State<App>,
    principal: Principal,
) -> Result<Json<Value>, Failure> {
    let log = Resource::new("audit_log", "");
    let found = app.audit.verify().await?;
    let fault = found.fault.as_ref().map(ToString::to_string);
    let outcome = if found.is_sound() { Outcome::Success } else { Outcome::Failure };
    let mut entry =
        principal.entry(Category::Security, "audit.verified", log).with_outcome(outcome);
    if let Some(fault) = &fault {
        entry = entry.with_detail("fault", fault.as_str());
    }
    app.audit.record(entry).await?;
    Ok(Json(json!({
        "sound": found.is_sound(),
        "manifests": found.manifests,
        "objects": found.objects,
        "entries": found.entries,
        "waiting": found.waiting,
        "fault": fault,
    })))
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
