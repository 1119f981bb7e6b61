//! Being told of changes: the server pushes the names of the keys that anybody writes.
//!
//! One connection of its own to every primary, in RESP3, with `CLIENT TRACKING ON BCAST`. The
//! client's own publish/subscribe is not used for it: a receiver that lags ends there in silence,
//! and on a Cluster only one node would be asked.
//!
//! # How a gap is noticed
//!
//! A connection asks `ROLE` every [`BEAT`] and has [`PATIENCE`] for the answer. The server sends
//! what a turn of its loop changed at the end of that turn, so every change before the question
//! was *sent* stands before its answer. A server that hangs is noticed after `BEAT + PATIENCE` at
//! the latest, a primary that was demoted after one `BEAT`, a slot that moved to a primary unknown
//! so far after [`BEATS_PER_VIEW`] beats.

mod board;
mod follow;
mod sentinel;
mod slots;
mod supervise;
mod wire;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::AbortHandle;

use super::{Redis, metric};
use board::Board;
use supervise::Supervisor;

/// Time between two questions to a server.
const BEAT: Duration = Duration::from_millis(250);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// A Cluster node is asked who serves which slot at every fourth beat: once a second.
const BEATS_PER_VIEW: u32 = 4;
/// The name of the connections, in `CLIENT LIST`.
const NAME: &str = "watchdog-tracking";

/// Who is told of changes.
///
/// The calls come straight from the task that reads the connection: they must neither block nor
/// panic (a panic in `changed` costs the connection, which is made again after a loss), and
/// [`lost`](Self::lost) and [`restored`](Self::restored) never overlap. They begin as lost.
pub trait Invalidations: Send + Sync + 'static {
    /// A key under a tracked prefix was written, removed, or expired, by whomever and in whichever
    /// database.
    fn changed(&self, key: &[u8]);

    /// Changes may be missed from now on, and may have been since
    /// [`Tracking::confirmed_at`]: forget everything, keep nothing until `restored`.
    fn lost(&self);

    /// Tracking stands on every primary: what is read from now on will be reported when it changes.
    fn restored(&self);
}

/// Tracking of some prefixes. Dropping it ends it, with a last [`Invalidations::lost`].
#[derive(Debug)]
#[must_use = "dropping it ends the tracking"]
pub struct Tracking {
    board: Arc<Board>,
    supervisor: AbortHandle,
}

impl Tracking {
    /// Every change before this instant has been reported; `None` while tracking is lost.
    ///
    /// What a server writes that became a primary since, unknown to those that are tracked, is the
    /// exception: up to a second may pass until it is known of. Then tracking is lost.
    ///
    /// It is at most 1.25 s back as long as the servers answer, and 250 ms plus a round trip on
    /// average; costs one atomic load.
    pub fn confirmed_at(&self) -> Option<Instant> {
        self.board.confirmed_at()
    }
}

impl Drop for Tracking {
    fn drop(&mut self) {
        self.board.close();
        self.supervisor.abort();
    }
}

impl Redis {
    /// Tells `to` of every change of a key that begins with one of the prefixes, see
    /// [`KeySpace::prefix_of`](super::KeySpace::prefix_of).
    ///
    /// It returns at once and connects in the background, for ever: one more connection to every
    /// primary, beside those of this client. They go on when this client is closed.
    ///
    /// The user needs `HELLO`, `CLIENT TRACKING`, `CLIENT SETNAME` and `ROLE`, with Cluster also
    /// `CLUSTER MYID` and `CLUSTER SLOTS`. Prefixes see the names of all keys under them, whatever
    /// keys the user may read.
    pub fn track(&self, prefixes: &[&str], to: Arc<dyn Invalidations>) -> Tracking {
        metric::describe_tracking();
        let board = Arc::new(Board::new(to));
        let supervisor =
            Supervisor::new(&self.inner.config, disjoint(prefixes), Arc::clone(&board));
        let supervisor = self.inner.runtime.spawn(supervisor.run()).abort_handle();
        Tracking { board, supervisor }
    }
}

/// The server refuses prefixes of which one begins with another.
fn disjoint(prefixes: &[&str]) -> Vec<String> {
    let mut sorted: Vec<&str> = prefixes.to_vec();
    sorted.sort_unstable();
    let mut kept: Vec<String> = Vec::with_capacity(sorted.len());
    for prefix in sorted {
        if !kept.last().is_some_and(|last| prefix.starts_with(last.as_str())) {
            kept.push(prefix.to_owned());
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::disjoint;

    #[test]
    fn a_prefix_within_another_is_left_out() {
        assert_eq!(disjoint(&["wd:u:", "wd:g:", "wd:u:"]), ["wd:g:", "wd:u:"]);
        assert_eq!(disjoint(&["wd:u:", "wd:", "x", "wd:u:{1}"]), ["wd:", "x"]);
        assert_eq!(disjoint(&["a", ""]), [""]);
    }
}
