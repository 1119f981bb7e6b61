//! Many tasks that record, and note what was acknowledged.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use uuid::Uuid;
use watchdog_audit::{AuditLog, ErrorKind};
use watchdog_core::Timestamp;
use watchdog_core::audit::{Actor, Category, Entry, Outcome, Resource};

use crate::ledger::Ledger;

/// Numbers of two loads lie this far apart.
pub(crate) const ROUND: u64 = 1_000_000;
const SHARE: u64 = 20_000;

/// Entry number `n`; its resource carries the number.
pub(crate) fn entry(n: u64, bytes: usize) -> Entry {
    let seconds = 1_767_225_600 + i64::try_from(n % 100_000).unwrap();
    Entry::new(
        Uuid::now_v7(),
        Timestamp::new(seconds, 0).unwrap(),
        Category::ALL[usize::try_from(n % 4).unwrap()],
        Actor::user(if n.is_multiple_of(2) { "alice" } else { "bob" }),
        "file.written",
        Resource::new("file", n.to_string()),
    )
    .with_outcome(Outcome::Success)
    .with_detail("text", "x".repeat(bytes))
}

/// How a load records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) tasks: u64,
    /// Between two entries of a task.
    pub(crate) pause: Duration,
    /// Length of the text in each entry.
    pub(crate) bytes: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self { tasks: 8, pause: Duration::from_millis(2), bytes: 20 }
    }
}

/// Tasks that record until they are stopped.
#[derive(Debug)]
pub(crate) struct Load {
    is_over: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Tally>>,
}

/// What became of the entries of a load.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) acknowledged: u64,
    pub(crate) refused: HashMap<ErrorKind, u64>,
}

impl Load {
    /// Starts the tasks on the logs in turn; numbers begin at `base`.
    pub(crate) fn start(logs: &[AuditLog], ledger: &Arc<Ledger>, base: u64, pace: Pace) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let logs = logs.iter().cycle().take(usize::try_from(pace.tasks).unwrap());
        let tasks = (0..).zip(logs).map(|(task, log)| {
            let (log, ledger, is_over) = (log.clone(), Arc::clone(ledger), Arc::clone(&is_over));
            tokio::spawn(async move {
                let mut tally = Tally::default();
                for n in base + task * SHARE..base + (task + 1) * SHARE {
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    match log.record(entry(n, pace.bytes)).await {
                        Ok(_) => {
                            ledger.note(n);
                            tally.acknowledged += 1;
                        }
                        Err(error) => *tally.refused.entry(error.kind()).or_default() += 1,
                    }
                    tokio::time::sleep(pace.pause).await;
                }
                tally
            })
        });
        let tasks = tasks.collect();
        Self { is_over, tasks }
    }

    /// Lets each task end what it is at.
    pub(crate) async fn stop(self) -> Tally {
        self.is_over.store(true, Ordering::Relaxed);
        let mut sum = Tally::default();
        for task in self.tasks {
            let tally = task.await.unwrap();
            sum.acknowledged += tally.acknowledged;
            for (kind, count) in tally.refused {
                *sum.refused.entry(kind).or_default() += count;
            }
        }
        sum
    }
}

/// Archives again and again, whatever comes of it, until it is told to end.
#[derive(Debug)]
pub(crate) struct Archiving {
    is_over: Arc<AtomicBool>,
    task: JoinHandle<u64>,
}

impl Archiving {
    pub(crate) fn start(log: &AuditLog) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn({
            let (log, is_over) = (log.clone(), Arc::clone(&is_over));
            async move {
                let mut failures = 0;
                while !is_over.load(Ordering::Relaxed) {
                    failures += u64::from(log.seal_and_archive().await.is_err());
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                failures
            }
        });
        Self { is_over, task }
    }

    /// How often archiving failed.
    pub(crate) async fn stop(self) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}
