//! Runs one check for ever: one task per check, at most one probe of it in flight.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};
use watchdog_core::health::{CheckReport, HealthCheck};
use watchdog_core::{Clock, fill_random};

use crate::hysteresis::Hysteresis;
use crate::metrics;
use crate::slot::{Observation, Slot};
use crate::state::State;
use crate::task::Task;

/// Longest text of a result that is kept, in bytes.
const MAX_OUTPUT_BYTES: usize = 500;

/// Probes the check of one slot until the task is dropped.
///
/// The first probe starts at once, the second after a random part of the interval, every further
/// one an interval after its predecessor. So the processes of a fleet that start together do not
/// probe together, and a change is seen within interval + timeout.
pub(crate) async fn run(state: Arc<State>, position: usize, check: Arc<dyn HealthCheck>) {
    let slot = &state.slots[position];
    let mut hysteresis = Hysteresis::new(slot.spec.fall, slot.spec.rise);
    let mut prober = Prober { check, in_flight: None };
    let mut start = Instant::now();
    let mut step = random_part(slot.spec.interval);
    loop {
        let last = prober.probe(slot.spec.timeout).await;
        publish(slot, &mut hysteresis, last, start, &*state.clock);
        state.latch_started();
        start += step;
        step = slot.spec.interval;
        sleep_until(start).await;
        // After a pause of the whole process there is nothing to catch up with.
        start = start.max(Instant::now());
    }
}

fn publish(
    slot: &Slot,
    hysteresis: &mut Hysteresis,
    mut last: CheckReport,
    start: Instant,
    clock: &dyn Clock,
) {
    let now = Instant::now();
    let duration = now.saturating_duration_since(start);
    let status = hysteresis.observe(last.status);
    if let Some(output) = &mut last.output {
        shorten(output);
    }
    let output = last.output.clone().unwrap_or_default();
    let before = slot.publish(Observation { status, last, at: now, time: clock.now(), duration });
    metrics::probed(&slot.spec.name, duration);
    if let Some(before) = before.filter(|&before| before != status) {
        metrics::changed(&slot.spec.name);
        tracing::warn!(check = %slot.spec.name, %before, %status, output, "health changed");
    }
}

/// Runs one probe at a time, each in a task of its own.
struct Prober {
    check: Arc<dyn HealthCheck>,
    /// A probe that did not end in time.
    in_flight: Option<Task<CheckReport>>,
}

impl Prober {
    /// The result of one probe; a panic, a hang and a probe that blocks are failures of this check
    /// alone.
    async fn probe(&mut self, limit: Duration) -> CheckReport {
        if self.in_flight.as_ref().is_some_and(|task| !task.is_finished()) {
            // It blocks its thread, so it cannot be cancelled. A second one would block another.
            return CheckReport::fail("the previous probe is still running");
        }
        let check = Arc::clone(&self.check);
        let task = self.in_flight.insert(Task::spawn(async move { check.check().await }));
        // A task woken by a timer that spawns one task runs it next on the same thread, and tells no
        // other thread. Should that task block, nobody would be left to drive timers and sockets. A
        // second task makes tokio wake another thread, which takes over what this one leaves.
        drop(tokio::spawn(std::future::ready(())));
        match timeout(limit, task.join()).await {
            Err(_) => {
                task.abort();
                CheckReport::fail(format!("no answer within {limit:?}"))
            }
            Ok(Err(_)) => CheckReport::fail("the check panicked"),
            Ok(Ok(report)) => report,
        }
    }
}

/// A random part of a duration, from an eighth of it to the whole.
fn random_part(whole: Duration) -> Duration {
    let mut bytes = [0; 4];
    if fill_random(&mut bytes).is_err() {
        return whole;
    }
    whole / 8 + (whole - whole / 8).mul_f64(f64::from(u32::from_be_bytes(bytes)) / 2_f64.powi(32))
}

/// Cuts a text at a character's border.
fn shorten(text: &mut String) {
    if text.len() > MAX_OUTPUT_BYTES {
        text.truncate(text.floor_char_boundary(MAX_OUTPUT_BYTES));
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_random_part_stays_within_the_interval() {
        let whole = Duration::from_secs(8);
        for _ in 0..1000 {
            let part = random_part(whole);
            assert!(part >= whole / 8 && part <= whole, "{part:?}");
        }
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let mut text = "é".repeat(300);
        shorten(&mut text);
        assert_eq!(text, format!("{}…", "é".repeat(250)));
        let mut short = "down".to_owned();
        shorten(&mut short);
        assert_eq!(short, "down");
    }
}
