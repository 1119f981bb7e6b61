//! A check that does what it is told.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use watchdog_core::health::{CheckReport, HealthCheck};

#[derive(Clone, Debug)]
pub(crate) enum Act {
    Answer(CheckReport),
    Hang,
    Panic,
    /// Blocks the thread until the sender is gone.
    Block(Arc<Mutex<Receiver<()>>>),
}

/// Does the same thing at every probe until it is told otherwise, and counts the probes.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    act: Arc<Mutex<Act>>,
    probes: Arc<AtomicUsize>,
}

impl Told {
    pub(crate) fn to(act: Act) -> Self {
        Self { act: Arc::new(Mutex::new(act)), probes: Arc::default() }
    }

    pub(crate) fn pass() -> Self {
        Self::to(Act::Answer(CheckReport::pass()))
    }

    pub(crate) fn fail() -> Self {
        Self::to(Act::Answer(CheckReport::fail("down")))
    }

    pub(crate) fn port(&self) -> Arc<dyn HealthCheck> {
        Arc::new(self.clone())
    }

    pub(crate) fn now(&self, act: Act) {
        *self.act.lock().unwrap() = act;
    }

    pub(crate) fn probes(&self) -> usize {
        self.probes.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl HealthCheck for Told {
    async fn check(&self) -> CheckReport {
        self.probes.fetch_add(1, Ordering::SeqCst);
        let act = self.act.lock().unwrap().clone();
        match act {
            Act::Answer(report) => report,
            Act::Hang => std::future::pending().await,
            Act::Panic => panic!("as told"),
            Act::Block(gate) => {
                let _ = gate.lock().unwrap_or_else(PoisonError::into_inner).recv();
                CheckReport::pass()
            }
        }
    }
}
