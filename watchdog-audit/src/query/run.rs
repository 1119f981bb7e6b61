//! Running a query: the store first, then the objects of the archive that may hold more.

use std::sync::Arc;

#[cfg(feature = "objects")]
use tokio::task::JoinSet;

use crate::entry::Line;
use crate::error::{Error, ErrorKind, Result};
use crate::live;
use crate::log::AuditLog;
use crate::personal::Personal;
use crate::query::best::{Best, Hit};
#[cfg(feature = "objects")]
use crate::query::scan::Announced;
use crate::query::{Cursor, Filter, Page, Query};
#[cfg(feature = "objects")]
use crate::{chain::Chain, manifest::ArchivedObject, query::Order};

/// Most objects that are read at once. The first is read alone: often it is enough.
#[cfg(feature = "objects")]
const OBJECTS_AT_ONCE: usize = 4;

/// What a query found, before anything is opened.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) hits: Vec<Hit>,
    pub(crate) next: Option<Cursor>,
    pub(crate) objects_read: u64,
    pub(crate) objects_total: u64,
    pub(crate) objects_missing: u64,
}

impl AuditLog {
    /// One page of the records a query asks for: what waits in the store and what is archived,
    /// each record once. Holds at most a page and four compressed objects in memory; a page has at
    /// most 16 MiB of lines, and is shorter than its limit where they are long.
    ///
    /// Neither asks for a role nor is recorded: [`AuditReader`](crate::AuditReader) does both.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) when an object of the archive is not what
    /// was archived, else as of store and bucket.
    pub async fn query(&self, query: &Query) -> Result<Page> {
        let found = self.find(query).await?;
        let mut page = Page {
            records: Vec::with_capacity(found.hits.len()),
            next: found.next,
            objects_read: found.objects_read,
            objects_total: found.objects_total,
            objects_missing: found.objects_missing,
        };
        for Hit { line, .. } in found.hits {
            let opened = self.opened(&line).await?;
            page.records.push(line.into_record(opened));
        }
        Ok(page)
    }

    /// The personal fields of a line, `None` where they stay sealed: their key is gone, or what
    /// stands there is no box. Nobody who damages one line hides all others by that.
    pub(crate) async fn opened(&self, line: &Line<'_>) -> Result<Option<Personal>> {
        let (Some(sealed), Some(keys)) = (&line.sealed, self.inner().keys()) else {
            return Ok(None);
        };
        match sealed.open(keys, line.writer, line.sequence).await {
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                let (writer, sequence) = (line.writer, line.sequence);
                tracing::error!(%error, %writer, sequence, "personal fields of an audit entry");
                Ok(None)
            }
            outcome => outcome,
        }
    }

    pub(crate) async fn filter(&self, query: &Query) -> Result<Filter> {
        let handles = match (&query.actor, self.inner().keys()) {
            (Some(actor), Some(keys)) => keys.handles(actor).await?,
            _ => Vec::new(),
        };
        Ok(Filter::new(query, handles))
    }

    pub(crate) async fn find(&self, query: &Query) -> Result<Found> {
        let mut best = Best::new(Arc::new(self.filter(query).await?));
        // The store first: what is archived in between is then found in the archive, once.
        self.find_live(&mut best).await?;
        let mut found = Found::default();
        #[cfg(feature = "objects")]
        if let Some(archive) = self.inner().archive() {
            let chain = archive.refreshed().await?;
            self.find_archived(&chain, &mut best, &mut found).await?;
        }
        (found.hits, found.next) = best.finish();
        Ok(found)
    }

    async fn find_live(&self, best: &mut Best) -> Result<()> {
        let store = self.inner().store();
        let mut refused: Option<Error> = None;
        for partition in 0..store.partitions() {
            let waiting = live::list(store, partition).await?.segments;
            let unarchived = live::list_unarchived(store, partition).await?;
            for segment in waiting.into_iter().map(|(segment, _)| segment).chain(unarchived) {
                live::read(store, segment, |_, frame| {
                    for line in frame.lines() {
                        if let Err(error) = best.offer(line) {
                            refused.get_or_insert(error);
                        }
                    }
                })
                .await?;
            }
        }
        refused.map_or(Ok(()), Err)
    }

    #[cfg(feature = "objects")]
    async fn find_archived(&self, chain: &Chain, best: &mut Best, found: &mut Found) -> Result<()> {
        let mut candidates = candidates(chain, best.filter(), found).into_iter().peekable();
        // Dropped with this future, so that nothing goes on reading.
        let mut reads = JoinSet::new();
        let mut at_once = 1;
        loop {
            while reads.len() < at_once
                && let Some(object) =
                    candidates.next_if(|object| !best.is_settled_before(object.occurred))
            {
                reads.spawn(read(self.clone(), Announced::by(object), best.branch()));
            }
            let Some(outcome) = reads.join_next().await else { return Ok(()) };
            match outcome.map_err(interrupted)?? {
                Some(branch) => {
                    found.objects_read += 1;
                    best.merge(branch);
                }
                None => found.objects_missing += 1,
            }
            at_once = (at_once * 2).min(OBJECTS_AT_ONCE);
        }
    }
}

/// What an object holds of the page, `None` when it is not in the bucket.
#[cfg(feature = "objects")]
async fn read(log: AuditLog, object: Announced, mut branch: Best) -> Result<Option<Best>> {
    let Some(content) = log.archiver()?.archive().read(&object.key).await? else {
        return Ok(None);
    };
    let scan = tokio::task::spawn_blocking(move || {
        object.scan(&content, |line| branch.offer(line)).map(|()| branch)
    });
    scan.await.map_err(interrupted)?.map(Some)
}

#[cfg(feature = "objects")]
fn interrupted(error: tokio::task::JoinError) -> Error {
    Error::new(ErrorKind::Closed, "a read of the archive was broken off").with_source(error)
}

/// The objects that may hold what is asked for, the most promising first.
#[cfg(feature = "objects")]
fn candidates<'a>(chain: &'a Chain, filter: &Filter, found: &mut Found) -> Vec<&'a ArchivedObject> {
    let mut candidates = Vec::new();
    for object in chain.objects() {
        found.objects_total += 1;
        if filter.may_be_in(object) {
            candidates.push(object);
        }
    }
    match filter.order() {
        Order::NewestFirst => {
            candidates.sort_by_key(|object| std::cmp::Reverse(object.occurred.to));
        }
        Order::OldestFirst => candidates.sort_by_key(|object| object.occurred.from),
    }
    candidates
}
