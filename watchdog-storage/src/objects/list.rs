//! Pages of keys in order.

use std::collections::BinaryHeap;

use futures::TryStreamExt as _;

use super::{MAX_PAGE, ObjectMeta, Objects, Page, key};
use crate::error::{Error, ErrorKind, Result};

pub(super) async fn page(
    objects: &Objects,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Page> {
    key::check_prefix(prefix)?;
    if let Some(after) = after {
        key::check(after)?;
    }
    if limit == 0 {
        return Err(Error::new(ErrorKind::Misuse, "a page of 0 objects"));
    }
    let limit = limit.min(MAX_PAGE);
    #[cfg(feature = "s3")]
    if let Some(store) = objects.backend.paginated(objects.budget) {
        return s3::page(objects, store, prefix, after, limit).await;
    }
    scan(objects, prefix, after, limit).await
}

/// Asks the store for one key; memory has no store to ask.
#[cfg_attr(
    not(feature = "s3"),
    expect(clippy::unused_async, unused_variables, reason = "only S3 has a store to ask")
)]
pub(super) async fn probe(objects: &Objects) -> Result<()> {
    #[cfg(feature = "s3")]
    if let Some(store) = objects.backend.paginated(objects.budget) {
        return s3::probe(objects, store).await;
    }
    Ok(())
}

/// Visits every object below the prefix's last `/` and keeps the smallest keys. Neither back end
/// lists in key order by itself: a directory lists as its file system likes.
async fn scan(objects: &Objects, prefix: &str, after: Option<&str>, limit: usize) -> Result<Page> {
    let folder = match prefix.rfind('/') {
        Some(end) => Some(objects.backend.path(&prefix[..end])?),
        None => None,
    };
    let mut smallest = BinaryHeap::with_capacity(limit.min(1024) + 2);
    objects
        .run("list", prefix, async {
            let mut found = objects.store().list(folder.as_ref());
            while let Some(meta) = found.try_next().await? {
                let Some(key) = objects.backend.key(&meta.location) else { continue };
                if key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after) {
                    smallest.push((key, meta.size));
                    if smallest.len() > limit + 1 {
                        smallest.pop();
                    }
                }
            }
            Ok(())
        })
        .await?;
    let mut found: Vec<ObjectMeta> = smallest
        .into_sorted_vec()
        .into_iter()
        .map(|(key, size)| ObjectMeta { key, size })
        .collect();
    let has_more = found.len() > limit;
    found.truncate(limit);
    let next = if has_more { found.last().map(|last| last.key.clone()) } else { None };
    Ok(Page { objects: found, next })
}

#[cfg(feature = "s3")]
mod s3 {
    use object_store::aws::AmazonS3;
    use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore as _};

    use super::super::create::PROBE_PREFIX;
    use super::{Error, ErrorKind, ObjectMeta, Objects, Page, Result};

    /// The most that S3 answers at once.
    const MAX_KEYS: usize = 1000;

    pub(super) async fn page(
        objects: &Objects,
        store: &AmazonS3,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page> {
        let mut found: Vec<ObjectMeta> = Vec::with_capacity(limit.min(MAX_KEYS));
        let mut token = None;
        loop {
            let options = PaginatedListOptions {
                offset: after.map(str::to_owned),
                max_keys: Some((limit - found.len()).min(MAX_KEYS)),
                page_token: token.clone(),
                ..PaginatedListOptions::default()
            };
            // An empty prefix parameter is not the same as none on every look-alike.
            let asked = Some(prefix).filter(|prefix| !prefix.is_empty());
            let answer = objects.run("list", prefix, store.list_paginated(asked, options)).await?;
            token = follow(token.as_deref(), answer.page_token.clone())?;
            append(&mut found, answer, prefix, after)?;
            if token.is_none() {
                return Ok(Page { objects: found, next: None });
            }
            if found.len() >= limit {
                let next = found.last().map(|last| last.key.clone());
                return Ok(Page { objects: found, next });
            }
        }
    }

    /// Where the listing goes on. The same place again would be a listing without an end.
    fn follow(token: Option<&str>, next: Option<String>) -> Result<Option<String>> {
        if next.is_some() && next.as_deref() == token {
            let text = "the store lists the same page again and again";
            return Err(Error::new(ErrorKind::Unexpected, text));
        }
        Ok(next)
    }

    /// Takes an answer over, and holds the store to the order that paging rests on.
    fn append(
        found: &mut Vec<ObjectMeta>,
        answer: PaginatedListResult,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<()> {
        for meta in answer.result.objects {
            let key = meta.location.as_ref().to_owned();
            let last = found.last().map(|last| last.key.as_str()).or(after);
            let fits = key.starts_with(prefix) && last.is_none_or(|last| key.as_str() > last);
            if fits {
                found.push(ObjectMeta { key, size: meta.size });
            } else if meta.size > 0 {
                return Err(Error::new(
                    ErrorKind::Unexpected,
                    format!("the store lists object \"{key}\" out of order"),
                ));
            }
            // Else the marker of a folder, `a/` with no content, which the client shows as `a`.
        }
        Ok(())
    }

    pub(super) async fn probe(objects: &Objects, store: &AmazonS3) -> Result<()> {
        let options = PaginatedListOptions { max_keys: Some(1), ..PaginatedListOptions::default() };
        let asked = store.list_paginated(Some(PROBE_PREFIX), options);
        objects.run("probe", PROBE_PREFIX, asked).await.map(drop)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_repeated_page_ends_the_listing() {
            assert_eq!(follow(None, None).unwrap(), None);
            assert_eq!(follow(None, Some("a".into())).unwrap().as_deref(), Some("a"));
            assert_eq!(follow(Some("a"), Some("b".into())).unwrap().as_deref(), Some("b"));
            let error = follow(Some("a"), Some("a".into())).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unexpected);
        }
    }
}
