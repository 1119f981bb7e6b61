//! Processes that are killed or frozen: this binary once more, with orders on its input.

use std::io::{BufRead as _, BufReader, Write as _};
use std::ops::ControlFlow;
use std::process::{Child as Process, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use watchdog_audit::{EmbeddedVault, KeyVault as _, Moment, Step, SubjectHandle};

use crate::ledger::Ledger;
use crate::load::{Archiving, Load, Pace, ROUND, entry};
use crate::place::Place;

/// What a process is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Work {
    /// Records under numbers from `base` on as fast as it can, and archives all the while.
    Load { base: u64 },
    /// Archives, and stops at a step: the n-th it is told of, counted from 0.
    ArchiveTo { stop: usize },
    /// Archives, and stops before the first step of this kind.
    ArchiveBefore(Kind),
    /// Records one after the other under numbers from `base` on, with so many bytes each.
    Fill { base: u64, bytes: usize },
    /// Keeps keys of subjects in a file one after the other, each so large.
    Keys { bytes: usize },
    /// Verifies and queries; tells the verdict, what became of the query, and by how many KiB the
    /// most memory it ever had grew meanwhile.
    Look,
}

/// A kind of step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    Epoch,
    Seal,
    Object,
    Manifest,
    Checkpoint,
    Gate,
}

impl Kind {
    fn is(self, step: &Step) -> bool {
        match step {
            Step::Epoch => self == Self::Epoch,
            Step::Seal(_) => self == Self::Seal,
            Step::Object(_) => self == Self::Object,
            Step::Manifest(_) => self == Self::Manifest,
            Step::Checkpoint(_) => self == Self::Checkpoint,
            Step::Gate(_) => self == Self::Gate,
            _ => false,
        }
    }
}

/// A process that works until it is killed, or ends by itself.
#[derive(Debug)]
pub(crate) struct Child {
    process: Process,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Child {
    pub(crate) fn start(place: &Place, work: &Work) -> Self {
        Self::start_as(Command::new(std::env::current_exe().unwrap()), place, work)
    }

    /// Starts it through a shell that runs `prologue` first.
    pub(crate) fn start_after(prologue: &str, place: &Place, work: &Work) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{prologue}\nexec \"$@\""), "sh"]);
        shell.arg(std::env::current_exe().unwrap());
        Self::start_as(shell, place, work)
    }

    fn start_as(mut command: Command, place: &Place, work: &Work) -> Self {
        let mut process = command
            .args(["--exact", "child::works", "--ignored", "--nocapture"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = process.stdin.take().unwrap();
        writeln!(input, "{}", serde_json::to_string(&(place, work)).unwrap()).unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        Self { process, input, output }
    }

    /// What it says next; `None` when it has ended.
    pub(crate) fn hears(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            // The harness prints the name of the test on the same line.
            if let Some((_, told)) = line.trim_end().split_once("told: ") {
                return Some(told.to_owned());
            }
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }

    /// With SIGKILL: no destructor runs, no buffer is flushed.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub(crate) fn pause(&self) {
        self.signal("STOP");
    }

    pub(crate) fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let id = self.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    /// Lets it go on from where it stopped.
    pub(crate) fn go_on(&mut self) {
        writeln!(self.input, "go on").unwrap();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The process. Without orders it ends at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs as the process that other tests kill"]
async fn works() {
    let mut told = String::new();
    std::io::stdin().read_line(&mut told).unwrap();
    let Ok((place, work)) = serde_json::from_str::<(Place, Work)>(&told) else { return };
    let (send, go_on) = mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        while std::io::stdin().read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
            let _ = send.send(());
        }
        // Whoever started this process has ended.
        std::process::exit(0);
    });
    match work {
        Work::Load { base } => load(&place, base).await,
        Work::Fill { base, bytes } => fill(&place, base, bytes).await,
        Work::Keys { bytes } => keep_keys(&place, bytes).await,
        Work::Look => look(&place).await,
        Work::ArchiveTo { stop } => {
            let count = AtomicUsize::new(0);
            archive(&place, go_on, |_, _| count.fetch_add(1, Ordering::SeqCst) == stop).await;
        }
        Work::ArchiveBefore(kind) => {
            let count = AtomicUsize::new(0);
            let is_first = || count.fetch_add(1, Ordering::SeqCst) == 0;
            let is_here = |step: &Step, moment| moment == Moment::Before && kind.is(step);
            archive(&place, go_on, |step, moment| is_here(step, moment) && is_first()).await;
        }
    }
}

/// One write a line, past the capture of the harness.
fn tell(what: &str) {
    std::io::stdout().write_all(format!("told: {what}\n").as_bytes()).unwrap();
    std::io::stdout().flush().unwrap();
}

async fn load(place: &Place, base: u64) {
    let log = place.log().await;
    let pace = Pace { pause: Duration::ZERO, ..Pace::default() };
    let ledger = Arc::new(Ledger::open(&place.ledger()));
    log.record(entry(base + ROUND / 4, 20)).await.unwrap();
    ledger.note(base + ROUND / 4);
    tell("ready");
    let _load = Load::start(std::slice::from_ref(&log), &ledger, base, pace);
    let _archiving = Archiving::start(&log);
    std::future::pending::<()>().await;
}

async fn fill(place: &Place, base: u64, bytes: usize) {
    let log = place
        .builder()
        .await
        .with_record_timeout(Duration::from_millis(200))
        .build()
        .await
        .unwrap();
    tell("ready");
    let ledger = Ledger::open(&place.ledger());
    for n in base.. {
        match log.record(entry(n, bytes)).await {
            Ok(_) => {
                ledger.note(n);
                tell("acknowledged");
            }
            Err(error) => tell(&format!("refused {:?}", error.kind())),
        }
    }
}

async fn keep_keys(place: &Place, bytes: usize) {
    let vault = EmbeddedVault::open(place.keys()).unwrap();
    tell("ready");
    // As many as it takes, and an end for one that never takes another.
    for n in 0..4000_u64 {
        let handle = SubjectHandle::from_bytes(&u128::from(n).to_be_bytes());
        match vault.create(&handle, "label", &vec![7; bytes]).await {
            Ok(_) => tell(&format!("acknowledged {n}")),
            Err(error) => tell(&format!("refused {:?}", error.kind())),
        }
    }
}

async fn archive(
    place: &Place,
    go_on: mpsc::Receiver<()>,
    is_here: impl Fn(&Step, Moment) -> bool + Send + Sync,
) {
    let log = place.log().await;
    let go_on = Mutex::new(go_on);
    let outcome = log
        .archiver()
        .unwrap()
        .run_observed(&|step, moment| {
            if is_here(step, moment) {
                tell(&format!("at {moment:?} {step:?}"));
                tokio::task::block_in_place(|| go_on.lock().unwrap().recv().unwrap());
            }
            ControlFlow::Continue(())
        })
        .await;
    match outcome {
        Ok(_) => tell("ended"),
        Err(error) => tell(&format!("failed {:?}", error.kind())),
    }
}

async fn look(place: &Place) {
    let log = place
        .builder()
        .await
        .with_archive_trusting(place.objects(), &crate::place::keys(), &[crate::forge::trusted()])
        .build()
        .await
        .unwrap();
    let before = greatest_memory();
    match log.verify().await {
        Ok(report) => tell(&report.fault.map_or_else(|| "sound".into(), |fault| fault.to_string())),
        Err(error) => tell(&format!("error {error:?}")),
    }
    match log.query(&watchdog_audit::Query::new()).await {
        Ok(_) => tell("answered"),
        Err(error) => tell(&format!("{:?}", error.kind())),
    }
    tell(&(greatest_memory() - before).to_string());
}

/// In KiB; 0 where the system does not tell.
fn greatest_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok()).unwrap_or(0)
}
