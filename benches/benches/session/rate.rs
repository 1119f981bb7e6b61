//! Calls per second of two ways to do one thing, in turn, and what they are to each other.

use std::time::Instant;

use tokio::runtime::Runtime;

use crate::bed::TASKS;

/// How long it is measured.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) rounds: u32,
    pub(crate) calls: u32,
}

impl Effort {
    /// Much under `cargo bench`, next to nothing under `cargo test`.
    pub(crate) fn asked_for() -> Self {
        if std::env::args().any(|argument| argument == "--bench") {
            Self { rounds: 15, calls: 400 }
        } else {
            Self { rounds: 1, calls: 4 }
        }
    }
}

/// A line of the table at the end.
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) beside: &'static str,
    pub(crate) ours: f64,
    pub(crate) theirs: f64,
    pub(crate) ratio: f64,
    /// The least ratio, when one was set.
    pub(crate) goal: Option<f64>,
}

/// Both in turn, so that what else the machine does meets both; medians of all rounds.
pub(crate) fn compare(
    (name, beside, goal): (&'static str, &'static str, Option<f64>),
    rounds: u32,
    mut ours: impl FnMut() -> f64,
    mut theirs: impl FnMut() -> f64,
) -> Line {
    let (mut one, mut other, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        // Whoever is first finds colder caches: take turns.
        let (fast, slow) = if round % 2 == 0 {
            let first = ours();
            (first, theirs())
        } else {
            let first = theirs();
            (ours(), first)
        };
        one.push(fast);
        other.push(slow);
        ratios.push(fast / slow);
    }
    Line { name, beside, goal, ours: median(one), theirs: median(other), ratio: median(ratios) }
}

/// Calls per second with as many tasks as there are sessions, each making `calls`.
pub(crate) fn throughput<F>(runtime: &Runtime, calls: u32, work: impl Fn(usize, u32) -> F) -> f64
where
    F: Future<Output = ()> + Send + 'static,
{
    let started = Instant::now();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..TASKS).map(|task| tokio::spawn(work(task, calls))).collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    f64::from(calls) * TASKS as f64 / started.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
