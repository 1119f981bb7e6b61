//! Draining the spool into the store beside the writer's other work.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::error::{Error, ErrorKind, Result};
use crate::log::delivery::{Delivery, Undelivered};
use crate::log::sources::Sources;
use crate::log::writer::{FIRST_PAUSE, LONGEST_PAUSE};

/// Frames that are brought between two looks at the queue.
const FRAMES_AT_ONCE: usize = 32;

/// One task at a time that brings frames to the store.
#[derive(Debug, Default)]
pub(crate) struct Pump {
    running: Option<JoinHandle<Attempt>>,
    resume_at: Option<Instant>,
    pause: Option<Duration>,
}

/// How far it came.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) delivery: Delivery,
    /// The store has every entry up to this one.
    pub(crate) stored: u64,
    pub(crate) outcome: Result<(), Undelivered>,
}

impl Pump {
    /// Brings frames from `stored` to `until`. It may be dropped and called again: the task goes
    /// on.
    pub(crate) async fn attempt(
        &mut self,
        delivery: &Delivery,
        sources: &Sources,
        (stored, until): (u64, u64),
    ) -> Attempt {
        if let Some(at) = self.resume_at {
            tokio::time::sleep_until(at).await;
            self.resume_at = None;
        }
        let running = self.running.get_or_insert_with(|| {
            tokio::spawn(bring(delivery.clone(), sources.clone(), stored, until))
        });
        let ended = running.await;
        self.running = None;
        let attempt = ended.unwrap_or_else(|error| {
            let error = Error::new(ErrorKind::Unavailable, "the delivery of frames was ended")
                .with_source(error);
            Attempt { delivery: delivery.clone(), stored, outcome: Err(error.into()) }
        });
        match &attempt.outcome {
            Ok(()) => self.pause = None,
            Err(_) => {
                let pause = self.pause.map_or(FIRST_PAUSE, |pause| (pause * 2).min(LONGEST_PAUSE));
                (self.pause, self.resume_at) = (Some(pause), Some(Instant::now() + pause));
            }
        }
        attempt
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.abort();
        }
    }
}

async fn bring(mut delivery: Delivery, sources: Sources, mut stored: u64, until: u64) -> Attempt {
    for _ in 0..FRAMES_AT_ONCE {
        if stored >= until {
            break;
        }
        match delivery.step(&sources, (stored, until)).await {
            Ok(now) => stored = now,
            Err(undelivered) => {
                return Attempt { delivery, stored, outcome: Err(undelivered) };
            }
        }
    }
    Attempt { delivery, stored, outcome: Ok(()) }
}
