//! What a probe and the state of the pool say about the health. No I/O.

use std::time::Duration;

use watchdog_core::health::CheckReport;

use super::stats::PoolStats;
use crate::error::ErrorKind;

/// What a probe found.
#[derive(Clone, Copy, Debug)]
pub(super) enum Probe {
    /// The server answered.
    Answered {
        /// How long the round trip took.
        round_trip: Duration,
    },
    /// The server did not answer, or not as it should.
    Failed(ErrorKind),
    /// Every connection was in use, so that nothing could be asked.
    Busy {
        /// How long ago the server last answered on any connection.
        silence: Duration,
        /// The silence that busy connections explain.
        explained: Duration,
    },
}

pub(super) fn verdict(probe: Probe, stats: PoolStats) -> CheckReport {
    let PoolStats { in_use, max, waiting, .. } = stats;
    let load = format!("{in_use} of {max} connections in use, {waiting} calls waiting");
    let report = match probe {
        Probe::Failed(kind) => CheckReport::fail(describe(kind)),
        Probe::Busy { silence, explained } if silence > explained => CheckReport::unknown(format!(
            "pool saturated, and the server has not answered for {} s: {load}",
            silence.as_secs()
        )),
        Probe::Busy { .. } => CheckReport::warn(format!("pool saturated: {load}")),
        Probe::Answered { .. } if stats.is_saturated() && waiting > 0 => {
            CheckReport::warn(format!("pool saturated: {load}"))
        }
        Probe::Answered { .. } if stats.is_nearly_saturated() => {
            CheckReport::warn(format!("pool nearly saturated: {load}"))
        }
        Probe::Answered { .. } => CheckReport::pass(),
    };
    observe(report, probe, stats)
}

#[expect(clippy::cast_precision_loss, reason = "no pool has 2^53 connections")]
fn observe(report: CheckReport, probe: Probe, stats: PoolStats) -> CheckReport {
    let report = report
        .with_observation("connections_open", stats.connections as f64)
        .with_observation("connections_in_use", stats.in_use as f64)
        .with_observation("connections_max", stats.max as f64)
        .with_observation("calls_waiting", stats.waiting as f64);
    match probe {
        Probe::Answered { round_trip } => {
            report.with_observation("round_trip_ms", round_trip.as_secs_f64() * 1_000.0)
        }
        Probe::Busy { silence, .. } => {
            report.with_observation("silence_ms", silence.as_secs_f64() * 1_000.0)
        }
        Probe::Failed(_) => report,
    }
}

fn describe(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::ConnectTimeout => "the server does not answer a new connection in time",
        ErrorKind::CommandTimeout => "the server does not answer in time",
        ErrorKind::Denied => "the server refuses the sign-in",
        ErrorKind::NotFound => "the database does not exist",
        ErrorKind::Refusing => "the server takes no new connection",
        ErrorKind::Config => "the settings do not fit the server",
        ErrorKind::Unavailable => "the server cannot be reached",
        _ => "the server does not answer as it should",
    }
}

#[cfg(test)]
mod tests {
    use watchdog_core::health::Status;

    use super::*;

    const ANSWERED: Probe = Probe::Answered { round_trip: Duration::from_millis(2) };

    fn stats(in_use: usize, waiting: usize) -> PoolStats {
        PoolStats { connections: in_use, in_use, idle: 0, waiting, pool_size: 5, max: 10 }
    }

    #[test]
    fn an_answer_from_a_pool_with_room_passes() {
        let report = verdict(ANSWERED, stats(8, 0));
        assert_eq!((report.status, report.output), (Status::Pass, None));
        assert_eq!(report.observations.get("round_trip_ms"), Some(&2.0));
        assert_eq!(report.observations.get("connections_in_use"), Some(&8.0));
    }

    #[test]
    fn more_than_four_fifths_in_use_warns_with_numbers() {
        let report = verdict(ANSWERED, stats(9, 0));
        assert_eq!(report.status, Status::Warn);
        let expected = "pool nearly saturated: 9 of 10 connections in use, 0 calls waiting";
        assert_eq!(report.output.as_deref(), Some(expected));
        let report = verdict(ANSWERED, stats(10, 3));
        let expected = "pool saturated: 10 of 10 connections in use, 3 calls waiting";
        assert_eq!(report.output.as_deref(), Some(expected));
    }

    #[test]
    fn a_busy_pool_is_told_from_a_silent_server() {
        let explained = Duration::from_secs(32);
        let busy = Probe::Busy { silence: Duration::from_secs(3), explained };
        let report = verdict(busy, stats(10, 3));
        assert_eq!(report.status, Status::Warn);
        assert_eq!(report.observations.get("silence_ms"), Some(&3_000.0));
        let silent = Probe::Busy { silence: Duration::from_secs(33), explained };
        let report = verdict(silent, stats(10, 3));
        assert_eq!(report.status, Status::Unknown);
        assert!(report.output.is_some_and(|output| output.contains("not answered for 33 s")));
    }

    #[test]
    fn a_failed_probe_fails_and_says_how() {
        let mut texts = std::collections::HashSet::new();
        for kind in [
            ErrorKind::ConnectTimeout,
            ErrorKind::CommandTimeout,
            ErrorKind::Denied,
            ErrorKind::NotFound,
            ErrorKind::Refusing,
            ErrorKind::Config,
            ErrorKind::Unavailable,
            ErrorKind::Unexpected,
        ] {
            let report = verdict(Probe::Failed(kind), stats(1, 0));
            assert_eq!(report.status, Status::Fail);
            assert!(texts.insert(report.output), "{kind:?} reads like another kind");
        }
    }
}
