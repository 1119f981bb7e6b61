//! Reading the log as somebody: with a role, and recorded.

use watchdog_core::Timestamp;
use watchdog_core::audit::{Actor, Category, Entry, Outcome, Resource};

use crate::error::{Error, ErrorKind, Result};
use crate::log::AuditLog;
use crate::query::{Cursor, Order, Page, Query};

/// The action under which reads of the log are recorded.
pub const READ_ACTION: &str = "audit.read";

/// The roles that may read unless
/// [`AuditLogBuilder::with_reader_roles`](crate::AuditLogBuilder::with_reader_roles) says otherwise.
pub const READER_ROLES: [&str; 2] = ["auditor", "admin"];

/// Texts of a query are recorded up to this many characters.
const MAX_TEXT: usize = 64;

/// Who reads, and with which roles. Whoever makes it has authenticated the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    /// Who.
    pub actor: Actor,
    /// The roles they have.
    pub roles: Vec<String>,
}

impl Reader {
    /// A reader with roles.
    pub fn new(actor: Actor, roles: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { actor, roles: roles.into_iter().map(Into::into).collect() }
    }
}

/// The log as one caller may read it.
///
/// Every page is recorded as [`READ_ACTION`], category access, before it is handed out; when that
/// cannot be recorded, the page is not given. A caller without one of the roles gets nothing, and
/// the attempt is recorded with the outcome denied. What is recorded says what was asked for
/// without personal values: an actor stands as its handle, ids as a hash.
///
/// A log that is switched off records nothing, reads included.
///
/// Reads do not multiply: one page is one entry, and the pages of a query leave out the reads
/// recorded since its first page, so paging ends whatever the size of the pages.
#[derive(Clone, Debug)]
pub struct AuditReader {
    log: AuditLog,
    principal: Reader,
}

impl AuditReader {
    /// The log as `principal` may read it.
    pub fn new(log: AuditLog, principal: Reader) -> Self {
        Self { log, principal }
    }

    /// One page of the records a query asks for, as of [`AuditLog::query`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Denied`] without one of the roles; as of [`AuditLog::record`] when the read
    /// cannot be recorded; else as of [`AuditLog::query`].
    pub async fn query(&self, query: &Query) -> Result<Page> {
        self.admit(query, "query").await?;
        let began = query.cursor.and_then(|cursor| cursor.reads_until);
        let began = began.unwrap_or_else(|| self.log.inner().clock().now());
        match self.log.query(query).await {
            Ok(mut page) => {
                let entry = self.entry(query, "query", Outcome::Success).await?;
                let entry = entry
                    .with_detail("records", page.records.len())
                    .with_detail("objects_read", page.objects_read);
                self.log.record(entry).await?;
                page.next = page.next.map(|next| without_reads_since(next, began));
                Ok(page)
            }
            Err(error) => {
                self.record_attempt(query, "query", Outcome::Failure).await;
                Err(error)
            }
        }
    }

    /// Refuses a caller without a role, and records that.
    pub(crate) async fn admit(&self, query: &Query, what: &'static str) -> Result<()> {
        let allowed = self.log.inner().reader_roles();
        if self.principal.roles.iter().any(|role| allowed.contains(role)) {
            return Ok(());
        }
        self.record_attempt(query, what, Outcome::Denied).await;
        Err(Error::new(ErrorKind::Denied, "reading the audit log needs a role the caller lacks"))
    }

    /// Records a read that gives nothing: that it cannot be recorded does not make it succeed.
    async fn record_attempt(&self, query: &Query, what: &'static str, outcome: Outcome) {
        let recorded = match self.entry(query, what, outcome).await {
            Ok(entry) => self.log.record(entry).await.map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = recorded {
            tracing::error!(%error, ?outcome, "a refused read of the audit log was not recorded");
        }
    }

    #[cfg(feature = "objects")]
    pub(crate) fn log(&self) -> &AuditLog {
        &self.log
    }

    /// The entry of a read: what was asked for, without personal values.
    pub(crate) async fn entry(
        &self,
        query: &Query,
        what: &'static str,
        outcome: Outcome,
    ) -> Result<Entry> {
        let now = self.log.inner().clock().now();
        let actor = self.principal.actor.clone();
        let resource = Resource::new("audit_log", what);
        let id = uuid::Uuid::now_v7();
        let entry = Entry::new(id, now, Category::Access, actor, READ_ACTION, resource);
        let subject = match &query.actor {
            Some(actor) => Some(self.pseudonym(actor).await?),
            None => None,
        };
        Ok(summary(query, subject)
            .into_iter()
            .fold(entry.with_outcome(outcome), |entry, (name, value)| {
                entry.with_detail(name, value)
            }))
    }

    async fn pseudonym(&self, actor: &Actor) -> Result<String> {
        if let Some(keys) = self.log.inner().keys()
            && let Some(handle) = keys.handles(actor).await?.first()
        {
            return Ok(handle.as_str().to_owned());
        }
        // Without encryption the log has the actor in the clear anyway.
        Ok(fingerprint(&[&actor.kind, &actor.id]))
    }
}

fn without_reads_since(cursor: Cursor, began: Timestamp) -> Cursor {
    Cursor { reads_until: Some(began), ..cursor }
}

/// What a query asks for, by name of the condition.
fn summary(query: &Query, subject: Option<String>) -> Vec<(&'static str, serde_json::Value)> {
    let cut = |text: &str| text.chars().take(MAX_TEXT).collect::<String>();
    let mut summary: Vec<(&'static str, serde_json::Value)> = Vec::new();
    let mut says = |name, value: Option<serde_json::Value>| {
        if let Some(value) = value {
            summary.push((name, value));
        }
    };
    let order = if query.order == Order::NewestFirst { "newest_first" } else { "oldest_first" };
    says("order", Some(order.into()));
    says("limit", Some(query.limit.into()));
    says("is_continued", Some(query.cursor.is_some().into()));
    says("subject", subject.map(Into::into));
    says("action", query.action.as_deref().map(|action| cut(action).into()));
    let (kind, id) =
        query.resource.as_ref().map_or((None, None), |(kind, id)| (Some(kind), id.as_ref()));
    says("resource_type", kind.map(|kind| cut(kind).into()));
    says("resource_id", id.map(|id| fingerprint(&[id]).into()));
    says("request_id", query.request.as_deref().map(|request| fingerprint(&[request]).into()));
    says("outcome", query.outcome.and_then(|outcome| serde_json::to_value(outcome).ok()));
    let categories: Vec<_> = query.categories.iter().map(|category| category.as_str()).collect();
    says("categories", (!categories.is_empty()).then(|| categories.into()));
    says("from", query.from.map(|from| from.to_string().into()));
    says("to", query.to.map(|to| to.to_string().into()));
    summary
}

/// The first 16 digits of the SHA-256 of some texts.
fn fingerprint(parts: &[&str]) -> String {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for part in parts {
        context.update(part.as_bytes());
        context.update(&[0]);
    }
    let digest = crate::hex::encode(context.finish().as_ref());
    format!("sha256:{}", digest.get(..16).unwrap_or_default())
}
