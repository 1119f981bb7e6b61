//! What a query takes: decided from the manifest, from the bytes of a line, and from the line.

use memchr::memmem::Finder;
use watchdog_core::Timestamp;

use crate::entry::Line;
#[cfg(feature = "objects")]
use crate::manifest::ArchivedObject;
use crate::personal::SubjectHandle;
use crate::query::cursor::Position;
use crate::query::{Order, Query};
use crate::reader::READ_ACTION;

/// A query with what its actor is called in the log.
#[derive(Debug)]
pub(crate) struct Filter {
    query: Query,
    handles: Vec<SubjectHandle>,
    /// One of each list must stand in the bytes of a line.
    needles: Vec<Vec<Finder<'static>>>,
    occurred_at: Finder<'static>,
}

impl Filter {
    pub(crate) fn new(query: &Query, handles: Vec<SubjectHandle>) -> Self {
        let needles = needles(query, &handles);
        let occurred_at = Finder::new("\"occurred_at\":\"").into_owned();
        Self { query: query.clone(), handles, needles, occurred_at }
    }

    pub(crate) fn order(&self) -> Order {
        self.query.order
    }

    pub(crate) fn limit(&self) -> usize {
        self.query.limit
    }

    pub(crate) fn reads_until(&self) -> Option<Timestamp> {
        self.query.cursor.and_then(|cursor| cursor.reads_until)
    }

    /// Whether a line may be asked for, without reading it as JSON: no is certain.
    pub(crate) fn may_take(&self, bytes: &[u8]) -> bool {
        self.needles.iter().all(|any| any.iter().any(|needle| needle.find(bytes).is_some()))
    }

    /// When the entry of a line occurred, where that is seen without reading it as JSON.
    ///
    /// The fields before it have no free text, so the first place is the field.
    pub(crate) fn occurred_at(&self, bytes: &[u8]) -> Option<Timestamp> {
        let begin = self.occurred_at.find(bytes)? + self.occurred_at.needle().len();
        let text = bytes.get(begin..)?;
        let end = memchr::memchr(b'"', text)?;
        std::str::from_utf8(text.get(..end)?).ok()?.parse().ok()
    }

    /// Whether an instant is within the times of the query and not before its cursor.
    pub(crate) fn takes_instant(&self, at: Timestamp) -> bool {
        let cursor = self.query.cursor.map(|cursor| cursor.after.occurred_at);
        self.query.from.is_none_or(|from| at >= from)
            && self.query.to.is_none_or(|to| at < to)
            && cursor.is_none_or(|cursor| match self.query.order {
                Order::NewestFirst => at <= cursor,
                Order::OldestFirst => at >= cursor,
            })
    }

    /// Whether a line is asked for.
    pub(crate) fn takes(&self, line: &Line) -> bool {
        let query = &self.query;
        self.takes_instant(line.occurred_at)
            && query.action.as_ref().is_none_or(|action| **action == *line.action)
            && query.outcome.is_none_or(|outcome| outcome == line.outcome)
            && (query.categories.is_empty() || query.categories.contains(&line.category))
            && query.request.as_ref().is_none_or(|id| line.request_id.as_deref() == Some(id))
            && query.resource.as_ref().is_none_or(|(kind, id)| {
                **kind == *line.resource.kind
                    && id.as_ref().is_none_or(|id| **id == *line.resource.id)
            })
            && self.takes_actor(line)
            && query.cursor.is_none_or(|cursor| {
                cursor.after.is_before(Position::of(line), query.order)
                    && cursor.reads_until.is_none_or(|until| {
                        *line.action != *READ_ACTION || line.recorded_at < until
                    })
            })
    }

    fn takes_actor(&self, line: &Line) -> bool {
        self.query.actor.as_ref().is_none_or(|actor| match (&line.sealed, &line.actor.id) {
            (Some(sealed), _) => self.handles.contains(&sealed.subject),
            (None, Some(id)) => *line.actor.kind == *actor.kind && **id == *actor.id,
            (None, None) => false,
        })
    }

    /// Whether an object of the archive may hold something that is asked for: no is certain.
    #[cfg(feature = "objects")]
    pub(crate) fn may_be_in(&self, object: &ArchivedObject) -> bool {
        let (query, zone) = (&self.query, &object.zone);
        let range = object.occurred;
        let cursor = query.cursor.map(|cursor| cursor.after.occurred_at);
        let (after, before) = match query.order {
            Order::NewestFirst => (None, cursor),
            Order::OldestFirst => (cursor, None),
        };
        query.from.max(after).is_none_or(|from| range.to >= from)
            && before.is_none_or(|before| range.from <= before)
            && query.to.is_none_or(|to| range.from < to)
            && (query.categories.is_empty() || query.categories.contains(&object.category))
            && query.outcome.is_none_or(|outcome| zone.holds_outcome(outcome))
            && query.action.as_ref().is_none_or(|action| zone.may_hold_action(action))
            && query.request.as_ref().is_none_or(|request| zone.may_hold_request(request))
            && query
                .resource
                .as_ref()
                .is_none_or(|(kind, id)| zone.may_hold_resource(kind, id.as_deref()))
            && query.actor.as_ref().is_none_or(|actor| {
                zone.may_hold_actor(actor)
                    || self.handles.iter().any(|handle| zone.may_hold_handle(handle))
            })
    }
}

/// What must stand in the bytes of a line: the log writes every field in one spelling.
fn needles(query: &Query, handles: &[SubjectHandle]) -> Vec<Vec<Finder<'static>>> {
    let mut needles = Vec::new();
    let field = |name: &str, value: &str| {
        // A text is always JSON.
        serde_json::to_string(value).ok().map(|value| format!("\"{name}\":{value}"))
    };
    let mut wants = |any: Vec<Option<String>>| {
        if let Some(any) = any.into_iter().collect::<Option<Vec<_>>>() {
            needles.push(any.iter().map(|text| Finder::new(text).into_owned()).collect());
        }
    };
    if let Some(request) = &query.request {
        wants(vec![field("request_id", request)]);
    }
    if let Some(actor) = &query.actor {
        let sealed = handles.iter().map(|handle| field("subject", handle.as_str()));
        wants(sealed.chain([field("id", &actor.id)]).collect());
    }
    if let Some((kind, id)) = &query.resource {
        let value = id.as_ref().map_or_else(|| field("type", kind), |id| field("id", id));
        wants(vec![value]);
    }
    if let Some(action) = &query.action {
        wants(vec![field("action", action)]);
    }
    if let Some(outcome) = query.outcome {
        let text = serde_json::to_string(&outcome).ok();
        wants(vec![text.map(|text| format!("\"outcome\":{text}"))]);
    }
    needles
}
