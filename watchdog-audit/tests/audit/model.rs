//! Random queries over random entries, against a plain filter.

use std::sync::Arc;

use proptest::prelude::*;
use uuid::Uuid;
use watchdog_audit::{AuditConfig, AuditLog, EmbeddedStore, Order, Query};
use watchdog_core::Timestamp;
use watchdog_core::audit::{Actor, Category, Entry, Outcome, Resource};
use watchdog_storage::objects::Objects;

use crate::bench::keys;

const OUTCOMES: [Outcome; 4] =
    [Outcome::Success, Outcome::Denied, Outcome::Failure, Outcome::Unknown];
/// Texts that need escapes in JSON, and one that is part of another.
const NAMES: [&str; 4] = ["a", "a\"b", "ab", "é\n\\u0061"];

/// What one entry is made of.
#[derive(Clone, Copy, Debug)]
struct Seed {
    second: i64,
    category: usize,
    actor: usize,
    action: usize,
    resource: usize,
    outcome: usize,
    request: Option<usize>,
}

#[derive(Clone, Debug)]
struct Asked {
    from: Option<i64>,
    to: Option<i64>,
    category: Option<usize>,
    actor: Option<usize>,
    action: Option<usize>,
    resource: Option<(usize, bool)>,
    outcome: Option<usize>,
    request: Option<usize>,
    limit: usize,
    is_newest_first: bool,
    /// After so many pages everything is archived.
    archives_after: usize,
}

fn at(second: i64) -> Timestamp {
    Timestamp::new(1_767_225_600 + second, 0).unwrap()
}

fn kind(n: usize) -> &'static str {
    ["file", "files"][n % 2]
}

fn entry(n: usize, seed: Seed) -> Entry {
    let entry = Entry::new(
        Uuid::from_u128(n as u128 + 1),
        at(seed.second),
        Category::ALL[seed.category],
        Actor::user(NAMES[seed.actor]),
        NAMES[seed.action],
        Resource::new(kind(seed.resource), NAMES[seed.resource]),
    )
    .with_outcome(OUTCOMES[seed.outcome])
    // What is asked for stands in other fields too.
    .with_detail("action", NAMES[3 - seed.action])
    .with_detail("occurred_at", "2026-01-01T00:00:00Z");
    match seed.request {
        Some(request) => entry.with_request_id(NAMES[request]),
        None => entry,
    }
}

fn seeds() -> impl Strategy<Value = Vec<Seed>> {
    let seed =
        (
            0..50_i64,
            0..4_usize,
            0..4_usize,
            0..4_usize,
            0..4_usize,
            0..4_usize,
            prop::option::of(0..4_usize),
        )
            .prop_map(|(second, category, actor, action, resource, outcome, request)| {
                Seed { second, category, actor, action, resource, outcome, request }
            });
    prop::collection::vec(seed, 0..80)
}

fn asked() -> impl Strategy<Value = Asked> {
    let one = || prop::option::weighted(0.3, 0..4_usize);
    let filters = (
        one(),
        one(),
        one(),
        prop::option::weighted(0.3, (0..4_usize, any::<bool>())),
        one(),
        one(),
    );
    let times = (prop::option::of(0..50_i64), prop::option::of(0..50_i64));
    (filters, times, 1..12_usize, any::<bool>(), 0..4_usize).prop_map(
        |(
            (category, actor, action, resource, outcome, request),
            (from, to),
            limit,
            newest,
            archives,
        )| {
            Asked {
                from,
                to,
                category,
                actor,
                action,
                resource,
                outcome,
                request,
                limit,
                is_newest_first: newest,
                archives_after: archives,
            }
        },
    )
}

impl Asked {
    fn takes(&self, seed: Seed) -> bool {
        self.from.is_none_or(|from| seed.second >= from)
            && self.to.is_none_or(|to| seed.second < to)
            && self.category.is_none_or(|category| category == seed.category)
            && self.actor.is_none_or(|actor| actor == seed.actor)
            && self.action.is_none_or(|action| action == seed.action)
            && self.resource.is_none_or(|(resource, is_whole)| {
                kind(resource) == kind(seed.resource) && (!is_whole || resource == seed.resource)
            })
            && self.outcome.is_none_or(|outcome| outcome == seed.outcome)
            && self.request.is_none_or(|request| Some(request) == seed.request)
    }

    fn query(&self) -> Query {
        let order = if self.is_newest_first { Order::NewestFirst } else { Order::OldestFirst };
        let mut query = Query::new().with_limit(self.limit).with_order(order);
        if let Some(from) = self.from {
            query = query.with_from(at(from));
        }
        if let Some(to) = self.to {
            query = query.with_to(at(to));
        }
        if let Some(category) = self.category {
            query = query.with_category(Category::ALL[category]);
        }
        if let Some(actor) = self.actor {
            query = query.with_actor(Actor::user(NAMES[actor]));
        }
        if let Some(action) = self.action {
            query = query.with_action(NAMES[action]);
        }
        match self.resource {
            Some((n, true)) => query = query.with_resource(Resource::new(kind(n), NAMES[n])),
            Some((n, false)) => query = query.with_resource_kind(kind(n)),
            None => {}
        }
        if let Some(outcome) = self.outcome {
            query = query.with_outcome(OUTCOMES[outcome]);
        }
        match self.request {
            Some(request) => query.with_request_id(NAMES[request]),
            None => query,
        }
    }

    /// The numbers of the entries that are asked for, in order: one writer, so ties go by number.
    fn wanted(&self, seeds: &[Seed]) -> Vec<u128> {
        let taken = (1_u128..).zip(seeds).filter(|(_, seed)| self.takes(**seed));
        let mut wanted: Vec<_> = taken.map(|(n, seed)| (seed.second, n)).collect();
        wanted.sort_unstable();
        if self.is_newest_first {
            wanted.reverse();
        }
        wanted.into_iter().map(|(_, n)| n).collect()
    }

    async fn found(&self, log: &AuditLog) -> Vec<u128> {
        let mut query = self.query();
        let mut found = Vec::new();
        for pages in 0.. {
            if pages == self.archives_after {
                // What was live on the page before is archived on the next.
                log.seal_and_archive().await.unwrap();
            }
            let page = log.query(&query).await.unwrap();
            assert!(page.records.len() <= self.limit && page.objects_read <= page.objects_total);
            found.extend(page.records.iter().map(|record| record.entry.id.as_u128()));
            match page.next {
                Some(cursor) => query = query.with_cursor(cursor.to_string().parse().unwrap()),
                None => break,
            }
        }
        found
    }
}

async fn log(is_encrypted: bool) -> AuditLog {
    let config = AuditConfig {
        encryption_enabled: is_encrypted,
        segment_max_bytes: 2000,
        ..AuditConfig::default()
    };
    AuditLog::builder()
        .with_config(&config)
        .with_store(EmbeddedStore::memory().unwrap())
        .with_archive(Objects::memory(), &keys())
        .with_encryption(&keys())
        .without_background()
        .build()
        .await
        .unwrap()
}

#[expect(clippy::disallowed_methods, reason = "the switch of the run, not a setting")]
fn cases() -> u32 {
    if std::env::var_os("WD_TEST_LONG").is_some() { 500 } else { 24 }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn every_query_finds_what_the_model_finds_while_entries_move_to_the_archive(
        seeds in seeds(),
        archived in 0..80_usize,
        is_encrypted in any::<bool>(),
        asked in prop::collection::vec(asked(), 1..6),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let log = log(is_encrypted).await;
            let log = Arc::new(log);
            for (n, seed) in seeds.iter().enumerate() {
                log.record(entry(n, *seed)).await.unwrap();
                if n == archived {
                    log.seal_and_archive().await.unwrap();
                }
            }
            for asked in &asked {
                assert_eq!(asked.found(&log).await, asked.wanted(&seeds), "{asked:?}");
            }
        });
    }
}
