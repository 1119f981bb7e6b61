//! Which servers are followed, and when a connection is made again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::{Instant, sleep, timeout};

use super::board::Board;
use super::follow::{Plan, follow};
use super::sentinel::Sentinels;
use super::wire::Address;
use super::{BEAT, BEATS_PER_VIEW};
use crate::error::{Error, ErrorKind};
use crate::redis::config::RedisConfig;
use crate::redis::pause::{jitter, pause};
use crate::redis::tls;
use crate::redis::url::{RedisUrl, Topology};

/// Most servers whose failed attempts are remembered.
const MOST_ATTEMPTS: usize = 4096;

/// Where the servers to follow are known from.
#[derive(Debug)]
enum Source {
    One(Address),
    Sentinel(Sentinels),
    Cluster(Vec<Address>),
}

/// How it went with one server so far.
#[derive(Debug)]
struct Attempt {
    failures: u32,
    not_before: Instant,
    running: Option<AbortHandle>,
}

/// Keeps the connections of one [`Tracking`](super::Tracking); they end with it.
#[derive(Debug)]
pub(super) struct Supervisor {
    board: Arc<Board>,
    plan: Arc<Plan>,
    source: Source,
    config: RedisConfig,
    tls: Option<Arc<rustls::ClientConfig>>,
    attempts: HashMap<Address, Attempt>,
    tasks: JoinSet<(Address, Error, Duration)>,
    /// When Sentinel was asked last, and what it said.
    primary: Option<Address>,
    asked_at: Option<Instant>,
}

impl Supervisor {
    pub(super) fn new(config: &RedisConfig, prefixes: Vec<String>, board: Arc<Board>) -> Self {
        let login = config.effective_password().map(|password| {
            let user = config.effective_username().unwrap_or("default");
            (user.to_owned(), password.to_owned())
        });
        let source = source(config);
        let plan = Plan {
            prefixes,
            login,
            is_cluster: matches!(source, Source::Cluster(_)),
            connect_timeout: config.connect_timeout,
        };
        Self {
            board,
            plan: Arc::new(plan),
            source,
            config: config.clone(),
            tls: None,
            attempts: HashMap::new(),
            tasks: JoinSet::new(),
            primary: None,
            asked_at: None,
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            if self.config.uses_tls() && self.tls.is_none() {
                match tls::client(self.config.tls_ca.as_deref()) {
                    Ok(config) => self.tls = Some(Arc::new(config)),
                    Err(error) => {
                        report(&error);
                        sleep(self.config.reconnect_max).await;
                        continue;
                    }
                }
            }
            let targets = self.targets().await;
            let next = self.start(targets);
            let wait = next.saturating_duration_since(Instant::now()).min(BEAT * BEATS_PER_VIEW);
            let board = Arc::clone(&self.board);
            let ended = timeout(wait, async {
                tokio::select! {
                    Some(ended) = self.tasks.join_next() => Some(ended),
                    () = board.news.notified() => None,
                }
            })
            .await;
            match ended {
                Ok(Some(Ok((address, error, lived)))) => self.failed(&address, &error, lived),
                Ok(Some(Err(stopped))) => self.stopped(&stopped),
                _ => {}
            }
        }
    }

    /// The servers that have to be followed and may not be yet.
    async fn targets(&mut self) -> Vec<Address> {
        match &mut self.source {
            Source::One(address) => vec![address.clone()],
            Source::Sentinel(sentinels) => {
                let pause = BEAT * BEATS_PER_VIEW;
                // Once a second, and more often while there is nobody to follow.
                let pause = if self.board.has_nodes() { pause } else { pause / 10 };
                if self.asked_at.is_none_or(|asked| asked.elapsed() >= pause) {
                    self.asked_at = Some(Instant::now());
                    match sentinels.primary(self.tls.as_ref()).await {
                        Ok(address) => self.primary = Some(address),
                        Err(error) => report(&error),
                    }
                }
                self.primary.clone().into_iter().collect()
            }
            Source::Cluster(seeds) => {
                let missing = self.board.missing();
                let owners = missing.iter().flatten().map(|owner| owner.address.clone());
                // A node that was left behind may know none of the others as they are now.
                let is_lost = self.board.confirmed_at().is_none();
                let seeds = seeds.iter().filter(|_| is_lost).cloned();
                owners.chain(seeds).collect()
            }
        }
    }

    /// Starts what is due; when to look again.
    fn start(&mut self, targets: Vec<Address>) -> Instant {
        let now = Instant::now();
        let mut next = now + BEAT * BEATS_PER_VIEW;
        if let Source::Sentinel(_) = self.source {
            if !self.board.has_nodes() {
                next = now + BEAT;
            }
            self.leave_others(&targets);
        }
        if self.attempts.len() > MOST_ATTEMPTS {
            self.attempts.retain(|_, attempt| attempt.running.is_some());
        }
        for address in targets {
            let attempt = self.attempts.entry(address.clone()).or_insert(Attempt {
                failures: 0,
                not_before: now,
                running: None,
            });
            if attempt.running.is_some() {
                continue;
            }
            if attempt.not_before > now {
                next = next.min(attempt.not_before);
                continue;
            }
            let (board, plan) = (Arc::clone(&self.board), Arc::clone(&self.plan));
            let tls = self.tls.clone();
            let following = self.tasks.spawn(async move {
                let start = Instant::now();
                let error = follow(&board, &plan, &address, tls.as_ref()).await;
                (address, error, start.elapsed())
            });
            attempt.running = Some(following);
        }
        next
    }

    /// Ends the connections to servers that Sentinel no longer calls the primary.
    fn leave_others(&mut self, targets: &[Address]) {
        for (address, attempt) in &mut self.attempts {
            if !targets.contains(address)
                && let Some(running) = attempt.running.take()
            {
                running.abort();
            }
        }
    }

    /// The task of a connection panicked, which the listener may have caused, or it was ended here.
    fn stopped(&mut self, stopped: &JoinError) {
        let of =
            |attempt: &Attempt| attempt.running.as_ref().is_some_and(|r| r.id() == stopped.id());
        let found = self.attempts.iter().find(|(_, attempt)| of(attempt));
        if let Some(address) = found.map(|(address, _)| address.clone()) {
            tracing::error!("a listener to changes in redis panicked");
            let error = Error::new(ErrorKind::Unexpected, "the connection was given up");
            self.failed(&address, &error, Duration::ZERO);
        }
    }

    fn failed(&mut self, address: &Address, error: &Error, lived: Duration) {
        report(error);
        self.asked_at = None;
        let Some(attempt) = self.attempts.get_mut(address) else { return };
        let (min, max) = (self.config.reconnect_min, self.config.reconnect_max);
        // One that stood for a while starts anew.
        attempt.failures = if lived > max { 1 } else { attempt.failures.saturating_add(1) };
        attempt.running = None;
        let spread = min * u32::from(jitter()) / 255;
        attempt.not_before = Instant::now() + pause(attempt.failures, min, max) + spread;
    }
}

fn source(config: &RedisConfig) -> Source {
    // Nobody has a client without a URL.
    let none = || RedisUrl::parse("redis://localhost").map_err(|_| ());
    let url = config.url.clone().map_or_else(none, Ok);
    let Ok(url) = url else { return Source::Cluster(Vec::new()) };
    match url.topology {
        Topology::Standalone => Source::One(url.hosts.first().cloned().unwrap_or_default()),
        Topology::Cluster => Source::Cluster(url.hosts),
        Topology::Sentinel => Source::Sentinel(Sentinels {
            service: config.service(&url).to_owned(),
            addresses: url.hosts,
            login: config
                .sentinel_password
                .as_ref()
                .map(|password| (config.sentinel_username.clone(), password.expose().to_owned())),
        }),
    }
}

fn report(error: &Error) {
    let kind = error.kind();
    if matches!(kind, ErrorKind::Denied | ErrorKind::Config) {
        tracing::warn!(?kind, %error, "redis does not report changes");
    } else {
        tracing::debug!(?kind, %error, "redis does not report changes yet");
    }
}
