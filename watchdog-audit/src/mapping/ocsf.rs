//! A record as an event of OCSF 1.1.0.

use serde_json::{Map, Value, json};
use watchdog_core::audit::{Actor, Entry, Outcome, Resource};

use super::activity::{Class, severity};
use crate::entry::Record;

/// The version events say they are of.
const VERSION: &str = "1.1.0";
/// What stands where a personal field cannot be read any more.
const ERASED: &str = "(erased)";

/// A record as an event of the Open Cybersecurity Schema Framework; see the
/// [module](crate::mapping) for how it is classified.
pub fn to_ocsf(record: &Record) -> Value {
    let entry = &record.entry;
    let class = Class::of(entry);
    let (activity_id, activity) = class.activity(&entry.action);
    let (category_uid, category) = class.category();
    let (severity_id, severity) = severity(entry);
    let (status_id, status) = status(entry.outcome);
    let mut event = json!({
        "activity_id": activity_id,
        "activity_name": activity,
        "category_uid": category_uid,
        "category_name": category,
        "class_uid": class.uid(),
        "class_name": class.name(),
        "type_uid": class.uid() * 100 + activity_id,
        "type_name": format!("{}: {activity}", class.name()),
        "time": entry.occurred_at.as_millisecond(),
        "severity_id": severity_id,
        "severity": severity,
        "status_id": status_id,
        "status": status,
        "status_detail": outcome(entry.outcome),
        "message": message(entry),
        "metadata": metadata(record),
        "actor": { "user": user(&entry.actor) },
        "src_endpoint": endpoint(entry),
        "unmapped": unmapped(record),
    });
    if let Value::Object(event) = &mut event {
        if let Some(agent) = &entry.client.user_agent {
            event.insert("http_request".into(), json!({ "user_agent": agent }));
        }
        specific(event, class, entry);
    }
    event
}

/// What only this class has.
fn specific(event: &mut Map<String, Value>, class: Class, entry: &Entry) {
    let mut insert = |name: &str, value| event.insert(name.into(), value);
    match class {
        Class::Authentication => {
            insert("user", user(&subject(entry)));
            insert("service", json!({ "name": product_name() }));
            if entry.resource.kind == "session" && !entry.resource.id.is_empty() {
                insert("session", json!({ "uid": entry.resource.id }));
            }
        }
        Class::AccountChange => {
            insert("user", user(&subject(entry)));
        }
        Class::ApiActivity => {
            insert("api", api(entry));
            insert("resources", json!([resource(&entry.resource)]));
        }
        Class::DatastoreActivity => {
            let Resource { kind, id } = &entry.resource;
            let name = if id.is_empty() { kind } else { id };
            match kind.as_str() {
                "table" => insert("table", json!({ "name": name })),
                "database" => insert("database", json!({ "name": name, "type_id": 0 })),
                _ => insert("databucket", json!({ "name": name, "type_id": 0 })),
            };
        }
    }
}

/// Whom an event of identity is about: the account that it names, else who acts.
fn subject(entry: &Entry) -> Actor {
    match entry.resource.kind.as_str() {
        "account" | "user" => Actor::user(&entry.resource.id),
        _ => entry.actor.clone(),
    }
}

fn user(actor: &Actor) -> Value {
    let (type_id, kind) = match actor.kind.as_str() {
        "user" => (1, "User"),
        "service" => (3, "System"),
        "anonymous" | "" => (0, "Unknown"),
        other => (99, other),
    };
    if actor.id.is_empty() {
        let name = if actor.kind == "anonymous" { "anonymous" } else { ERASED };
        json!({ "name": name, "type_id": type_id, "type": kind })
    } else {
        json!({ "uid": actor.id, "name": actor.id, "type_id": type_id, "type": kind })
    }
}

fn endpoint(entry: &Entry) -> Value {
    match (entry.client.ip, entry.actor.kind.as_str()) {
        (Some(ip), _) => json!({ "ip": ip.to_string() }),
        (None, "service") if !entry.actor.id.is_empty() => json!({ "svc_name": entry.actor.id }),
        (None, _) => json!({ "name": "unknown" }),
    }
}

fn api(entry: &Entry) -> Value {
    let mut api = json!({ "operation": entry.action, "service": { "name": product_name() } });
    if let Some(id) = &entry.request_id {
        api["request"] = json!({ "uid": id });
    }
    if let Some(status) = entry.details.get("status").and_then(Value::as_u64)
        && u32::try_from(status).is_ok()
    {
        api["response"] = json!({ "code": status });
    }
    api
}

fn resource(resource: &Resource) -> Value {
    let uid = if resource.id.is_empty() { &resource.kind } else { &resource.id };
    json!({ "type": resource.kind, "uid": uid })
}

fn metadata(record: &Record) -> Value {
    let entry = &record.entry;
    let mut metadata = json!({
        "version": VERSION,
        "uid": entry.id.to_string(),
        "product": {
            "name": product_name(),
            "vendor_name": "Watchdog SDK",
            "version": env!("CARGO_PKG_VERSION"),
        },
        "log_name": entry.category.as_str(),
        "event_code": entry.action,
        "logged_time": record.recorded_at.as_millisecond(),
        "original_time": entry.occurred_at.to_string(),
    });
    // The schema's integers have 32 bits.
    if let Ok(sequence) = i32::try_from(record.sequence) {
        metadata["sequence"] = sequence.into();
    }
    if let Some(id) = entry.trace_id.as_ref().or(entry.request_id.as_ref()) {
        metadata["correlation_uid"] = id.as_str().into();
    }
    metadata
}

fn unmapped(record: &Record) -> Value {
    let entry = &record.entry;
    json!({
        "actor_type": entry.actor.kind,
        "resource": entry.resource,
        "request_id": entry.request_id,
        "trace_id": entry.trace_id,
        "writer": record.writer.to_string(),
        "sequence": record.sequence,
        "readable": record.is_readable,
        "details": entry.details,
    })
}

fn message(entry: &Entry) -> String {
    let Resource { kind, id } = &entry.resource;
    format!("{} on {kind} {id}: {}", entry.action, outcome(entry.outcome))
}

fn status(outcome: Outcome) -> (u64, &'static str) {
    match outcome {
        Outcome::Success => (1, "Success"),
        Outcome::Denied | Outcome::Failure => (2, "Failure"),
        _ => (0, "Unknown"),
    }
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Success => "success",
        Outcome::Denied => "denied",
        Outcome::Failure => "failure",
        _ => "unknown",
    }
}

fn product_name() -> &'static str {
    env!("CARGO_PKG_NAME")
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;
    use watchdog_core::Timestamp;
    use watchdog_core::audit::{Category, Client};

    use super::*;
    use crate::writer_id::WriterId;

    fn record(category: Category, action: &str, resource: Resource) -> Record {
        let occurred_at = Timestamp::constant(1_767_225_600, 0);
        let actor = Actor::user("alice");
        let entry = Entry::new(Uuid::from_u128(7), occurred_at, category, actor, action, resource)
            .with_outcome(Outcome::Success)
            .with_client(Client::new(Some([203, 0, 113, 7].into()), Some("curl/8".into())))
            .with_request_id("r-1")
            .with_detail("status", 200);
        Record {
            writer: WriterId::from_bytes([1; 16]),
            sequence: 3,
            recorded_at: Timestamp::constant(1_767_225_601, 0),
            entry,
            is_readable: true,
        }
    }

    #[test]
    fn an_access_is_an_api_activity_with_its_request_and_status() {
        let record = record(Category::Access, "http.get", Resource::new("route", "/notes/{id}"));
        let event = to_ocsf(&record);
        assert_eq!(event["type_uid"], 600_302);
        assert_eq!(event["type_name"], "API Activity: Read");
        assert_eq!(event["time"], 1_767_225_600_000_i64);
        assert_eq!(event["metadata"]["uid"], "00000000-0000-0000-0000-000000000007");
        assert_eq!(event["api"]["response"]["code"], 200);
        assert_eq!(event["api"]["request"]["uid"], "r-1");
        assert_eq!(event["resources"][0], json!({ "type": "route", "uid": "/notes/{id}" }));
        assert_eq!(event["src_endpoint"], json!({ "ip": "203.0.113.7" }));
        assert_eq!(event["actor"]["user"]["uid"], "alice");
        assert_eq!(event["unmapped"]["details"], json!({ "status": 200 }));
    }

    #[test]
    fn a_refused_login_is_about_the_account_and_not_about_who_tried() {
        let mut record = record(Category::Security, "auth.login", Resource::new("account", "bob"));
        record.entry.actor = Actor::anonymous();
        record.entry.outcome = Outcome::Denied;
        let event = to_ocsf(&record);
        assert_eq!((&event["class_uid"], &event["activity_id"]), (&json!(3002), &json!(1)));
        assert_eq!(event["user"]["uid"], "bob");
        assert_eq!(event["actor"]["user"]["name"], "anonymous");
        assert_eq!((&event["status_id"], &event["severity_id"]), (&json!(2), &json!(3)));
        assert_eq!(event["status_detail"], "denied");
    }

    #[test]
    fn an_erased_actor_is_said_to_be_erased() {
        let mut record = record(Category::Application, "note.read", Resource::new("note", "1"));
        record.is_readable = false;
        record.entry.actor.id.clear();
        record.entry.client = Client::unknown();
        let event = to_ocsf(&record);
        assert_eq!(event["actor"]["user"]["name"], ERASED);
        assert_eq!(event["unmapped"]["readable"], false);
        assert_eq!(event["src_endpoint"], json!({ "name": "unknown" }));
    }
}
