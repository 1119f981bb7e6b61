//! One connection to one primary: what it pushes is passed on, until it fails.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use redis_protocol::resp3::types::OwnedFrame;
use tokio::time::{Instant, sleep_until, timeout};

use super::board::{Board, Standing};
use super::slots::View;
use super::wire::{Address, Wire, bytes, elements, refusal, text};
use super::{BEAT, BEATS_PER_VIEW, NAME, PATIENCE};
use crate::error::{Error, ErrorKind, Result};

/// What all connections of one [`Tracking`](super::Tracking) have in common.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) prefixes: Vec<String>,
    pub(super) login: Option<(String, String)>,
    pub(super) is_cluster: bool,
    pub(super) connect_timeout: Duration,
}

/// A question under way. Answers come in the order of the questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    /// Anything that is answered with no error.
    Greeting,
    Id,
    View,
    Role,
}

/// Follows one server until its connection ends, which is always an error.
pub(super) async fn follow(
    board: &Arc<Board>,
    plan: &Plan,
    address: &Address,
    tls: Option<&Arc<rustls::ClientConfig>>,
) -> Error {
    let wire = match timeout(plan.connect_timeout, Wire::dial(address, tls)).await {
        Ok(Ok(wire)) => wire,
        Ok(Err(error)) => return error,
        Err(_) => return Error::new(ErrorKind::ConnectTimeout, "no connection for tracking"),
    };
    let follower = Follower {
        board,
        plan,
        address,
        wire,
        asked: VecDeque::new(),
        id: String::new(),
        view: None,
        standing: None,
    };
    match follower.run().await {
        Err(error) => error,
        Ok(never) => match never {},
    }
}

struct Follower<'a> {
    board: &'a Arc<Board>,
    plan: &'a Plan,
    address: &'a Address,
    wire: Wire,
    /// Oldest first, with when it was sent.
    asked: VecDeque<(Question, Instant)>,
    id: String,
    view: Option<View>,
    standing: Option<Standing>,
}

impl Follower<'_> {
    async fn run(mut self) -> Result<std::convert::Infallible> {
        self.greet().await?;
        let (mut beats, mut next_beat) = (0_u32, Instant::now() + BEAT);
        loop {
            while let Some(frame) = self.wire.frame()? {
                self.take(&frame)?;
            }
            let deadline = self.asked.front().map(|(_, sent)| *sent + PATIENCE);
            let wake = deadline.map_or(next_beat, |deadline| deadline.min(next_beat));
            let is_awake = tokio::select! {
                filled = self.wire.fill() => { filled?; false }
                () = sleep_until(wake) => true,
            };
            // Not only when awake: a flood of pushes must not keep the questions from being sent.
            let now = Instant::now();
            if is_awake && deadline.is_some_and(|deadline| deadline <= now) {
                return Err(Error::new(ErrorKind::CommandTimeout, "a server did not answer ROLE"));
            }
            if next_beat <= now {
                beats = beats.wrapping_add(1);
                next_beat = now + BEAT;
                self.beat(self.plan.is_cluster && beats.is_multiple_of(BEATS_PER_VIEW)).await?;
            }
        }
    }

    /// Tracking stands when the last of these has its answer.
    async fn greet(&mut self) -> Result<()> {
        let mut hello = vec!["HELLO", "3"];
        if let Some((user, password)) = &self.plan.login {
            hello.extend(["AUTH", user, password]);
        }
        let mut tracking = vec!["CLIENT", "TRACKING", "ON", "BCAST"];
        for prefix in &self.plan.prefixes {
            tracking.extend(["PREFIX", prefix]);
        }
        let mut commands = vec![
            (Question::Greeting, hello),
            (Question::Greeting, vec!["CLIENT", "SETNAME", NAME]),
            (Question::Greeting, tracking),
        ];
        if self.plan.is_cluster {
            commands.push((Question::Id, vec!["CLUSTER", "MYID"]));
            commands.push((Question::View, vec!["CLUSTER", "SLOTS"]));
        }
        commands.push((Question::Role, vec!["ROLE"]));
        self.ask(commands).await
    }

    async fn beat(&mut self, with_view: bool) -> Result<()> {
        let view = with_view.then(|| (Question::View, vec!["CLUSTER", "SLOTS"]));
        let commands = view.into_iter().chain([(Question::Role, vec!["ROLE"])]).collect();
        self.ask(commands).await
    }

    async fn ask(&mut self, commands: Vec<(Question, Vec<&str>)>) -> Result<()> {
        // Before anything is sent: what changes from now on may come after the answer.
        let sent = Instant::now();
        let (questions, commands): (Vec<_>, Vec<_>) = commands.into_iter().unzip();
        self.asked.extend(questions.into_iter().map(|question| (question, sent)));
        match timeout(PATIENCE, self.wire.send(&commands)).await {
            Ok(sent) => sent,
            Err(_) => Err(Error::new(ErrorKind::CommandTimeout, "a server takes no commands")),
        }
    }

    fn take(&mut self, frame: &OwnedFrame) -> Result<()> {
        if let OwnedFrame::Push { data, .. } = frame {
            return self.pushed(data);
        }
        let unasked = || Error::new(ErrorKind::Unexpected, "an answer without a question");
        let (question, sent) = self.asked.pop_front().ok_or_else(unasked)?;
        if let Some(error) = refusal(frame) {
            return Err(error);
        }
        match question {
            Question::Greeting => Ok(()),
            Question::Id => {
                self.id = text(frame).unwrap_or_default().to_owned();
                Ok(())
            }
            Question::View => self.seen(frame),
            Question::Role => self.answered(frame, sent),
        }
    }

    fn pushed(&self, data: &[OwnedFrame]) -> Result<()> {
        match data {
            [kind, OwnedFrame::Null] if text(kind) == Some("invalidate") => self.board.flushed(),
            [kind, keys] if text(kind) == Some("invalidate") => {
                for key in elements(keys).iter().filter_map(bytes) {
                    self.board.changed(key);
                }
            }
            // Redirected tracking only; if it ever came here, nothing would be pushed any more.
            [kind, ..] if text(kind) == Some("tracking-redir-broken") => {
                return Err(Error::new(ErrorKind::Unavailable, "the server ended the tracking"));
            }
            _ => {}
        }
        Ok(())
    }

    fn seen(&mut self, frame: &OwnedFrame) -> Result<()> {
        let view = View::parse(frame, self.address)
            .ok_or_else(|| Error::new(ErrorKind::Unexpected, "CLUSTER SLOTS is not a list"))?;
        let serves = view.serves(&self.id);
        match &self.standing {
            Some(standing) => standing.see(view.clone()),
            None => self.board.hint(view.clone()),
        }
        if !serves {
            return Err(Error::new(ErrorKind::Unavailable, "the node serves no slot"));
        }
        self.view = Some(view);
        Ok(())
    }

    fn answered(&mut self, frame: &OwnedFrame, sent: Instant) -> Result<()> {
        if elements(frame).first().and_then(text) != Some("master") {
            return Err(Error::new(ErrorKind::Unavailable, "the server is no primary"));
        }
        let sent = sent.into_std();
        match &self.standing {
            Some(standing) => standing.confirm(sent),
            None => {
                let standing = self.board.stand(&self.id, self.view.take(), sent);
                let twice = || Error::new(ErrorKind::Unavailable, "the node is tracked already");
                self.standing = Some(standing.ok_or_else(twice)?);
            }
        }
        Ok(())
    }
}
