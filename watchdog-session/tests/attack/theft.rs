//! A refresh token in two hands.

use std::time::Duration;

use watchdog_session::{
    Client, ErrorKind, Issued, RefreshToken, Rotated, SessionConfig, Sessions, Verdict,
};
use watchdog_storage::testing::redis::shared;

use crate::rig::{FIREFOX, Rig, client};

const CHROME: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
                      Chrome/140.0.0.0 Safari/537.36";

async fn rig(grace: Duration) -> Option<Rig> {
    let config = SessionConfig { grace, ..SessionConfig::default() };
    Some(Rig::start(&shared()?.url(), config).await)
}

const GRACE: Duration = Duration::from_secs(60);

async fn rotate(sessions: &Sessions, token: &RefreshToken) -> Rotated {
    sessions.rotate(token.expose(), &client()).await.unwrap()
}

async fn refused(sessions: &Sessions, token: &RefreshToken, client: &Client) -> ErrorKind {
    sessions.rotate(token.expose(), client).await.unwrap_err().kind()
}

/// Every token of the family is dead, and the log tells it once.
async fn is_dead(rig: &Rig, issued: &Issued, tokens: &[&RefreshToken]) {
    for token in tokens.iter().copied().chain([&issued.refresh_token]) {
        assert_eq!(refused(&rig.sessions, token, &client()).await, ErrorKind::Gone);
    }
    let session = rig.sessions.authenticate(issued.session_token.expose(), &client()).await;
    assert_eq!(session.unwrap_err().kind(), ErrorKind::Gone);
    let actions = rig.actions_of(issued.session.id()).await;
    let count = |action: &str| actions.iter().filter(|it| *it == action).count();
    assert_eq!(count("session.refresh_token_reused"), 1, "{actions:?}");
    assert_eq!(actions.last().map(String::as_str), Some("session.refresh_token_reused"));
}

#[tokio::test]
async fn t16_a_replaced_token_after_the_grace_period_ends_the_family_with_one_event() {
    let grace = Duration::from_millis(200);
    let Some(rig) = rig(grace).await else { return };
    let issued = rig.issue("victim").await;
    let next = rotate(&rig.sessions, &issued.refresh_token).await;
    tokio::time::sleep(grace + Duration::from_millis(50)).await;
    let kind = refused(&rig.sessions, &issued.refresh_token, &client()).await;
    assert_eq!(kind, ErrorKind::Reused);
    is_dead(&rig, &issued, &[&next.refresh_token]).await;
}

/// django-oauth-toolkit#1617 and the first supabase release: any older token passed in the window.
#[tokio::test]
async fn t17_two_generations_back_ends_the_family_within_the_grace_period_too() {
    let Some(rig) = rig(GRACE).await else { return };
    let issued = rig.issue("victim").await;
    let first = rotate(&rig.sessions, &issued.refresh_token).await;
    let second = rotate(&rig.sessions, &first.refresh_token).await;
    let kind = refused(&rig.sessions, &issued.refresh_token, &client()).await;
    assert_eq!(kind, ErrorKind::Reused);
    is_dead(&rig, &issued, &[&first.refresh_token, &second.refresh_token]).await;
}

#[tokio::test]
async fn t18_grace_from_another_network_or_browser_ends_the_family() {
    let Some(rig) = rig(GRACE).await else { return };
    let thieves = [
        Client::new("198.51.100.9".parse().ok(), Some(FIREFOX.into())),
        Client::new("192.0.2.77".parse().ok(), Some(CHROME.into())),
        Client::new("192.0.2.77".parse().ok(), Some("curl/8".into())),
        Client::new("192.0.2.77".parse().ok(), None),
    ];
    for thief in thieves {
        let issued = rig.issue("victim").await;
        let next = rotate(&rig.sessions, &issued.refresh_token).await;
        let kind = refused(&rig.sessions, &issued.refresh_token, &thief).await;
        assert_eq!(kind, ErrorKind::Reused, "{thief:?}");
        is_dead(&rig, &issued, &[&next.refresh_token]).await;
    }
    // The same network and family, another address and version: another tab of the same browser.
    let update = FIREFOX.replace("142.0", "143.0");
    let neighbour = Client::new("192.0.2.78".parse().ok(), Some(update));
    let issued = rig.issue("honest").await;
    rotate(&rig.sessions, &issued.refresh_token).await;
    let again = rig.sessions.rotate(issued.refresh_token.expose(), &neighbour).await.unwrap();
    assert_eq!(again.verdict, Verdict::Grace);
}

/// Using the successor does not end the grace, since another tab may still be refreshing; rotating
/// it does.
#[tokio::test]
async fn t19_grace_ends_when_the_successor_is_rotated_and_not_when_it_is_used() {
    let Some(rig) = rig(GRACE).await else { return };
    let issued = rig.issue("victim").await;
    let next = rotate(&rig.sessions, &issued.refresh_token).await;
    assert!(rig.sessions.authenticate_access(next.access_token.expose()).is_ok());
    let session = issued.session_token.expose();
    assert!(rig.sessions.authenticate(session, &client()).await.is_ok());
    let grace = rotate(&rig.sessions, &issued.refresh_token).await;
    assert_eq!((grace.verdict, &grace.refresh_token), (Verdict::Grace, &next.refresh_token));
    let last = rotate(&rig.sessions, &next.refresh_token).await;
    let kind = refused(&rig.sessions, &issued.refresh_token, &client()).await;
    assert_eq!(kind, ErrorKind::Reused);
    is_dead(&rig, &issued, &[&next.refresh_token, &last.refresh_token]).await;
}

/// A thief in the same network with the same browser family, always within the window: both live on
/// one chain, each of the thief's calls leaves an event, and the first late call ends it.
#[tokio::test]
async fn t21_a_thief_who_alternates_with_the_victim_leaves_traces_and_is_caught_at_the_first_delay()
{
    let grace = Duration::from_millis(1500);
    let Some(rig) = rig(grace).await else { return };
    let issued = rig.issue("victim").await;
    let mut token = issued.refresh_token.clone();
    for _ in 0..20 {
        let victim = rotate(&rig.sessions, &token).await;
        let thief = rotate(&rig.sessions, &token).await;
        assert_eq!((victim.verdict, thief.verdict), (Verdict::Rotated, Verdict::Grace));
        assert_eq!(victim.refresh_token, thief.refresh_token);
        token = victim.refresh_token;
    }
    let stolen = token.clone();
    let next = rotate(&rig.sessions, &token).await;
    tokio::time::sleep(grace + Duration::from_millis(100)).await;
    assert_eq!(refused(&rig.sessions, &stolen, &client()).await, ErrorKind::Reused);
    is_dead(&rig, &issued, &[&next.refresh_token]).await;
    let actions = rig.actions_of(issued.session.id()).await;
    let graces = actions.iter().filter(|it| *it == "session.grace_used").count();
    assert_eq!(graces, 20);
}

/// One window serves a token 65 times: once when it is replaced, 64 times after. Then it is refused
/// and nobody is logged out; from elsewhere it is theft at once.
#[tokio::test]
async fn t21_one_window_serves_a_token_sixty_five_times() {
    let Some(rig) = rig(GRACE).await else { return };
    let issued = rig.issue("victim").await;
    let mut next = rotate(&rig.sessions, &issued.refresh_token).await;
    for _ in 0..64 {
        next = rotate(&rig.sessions, &issued.refresh_token).await;
        assert_eq!(next.verdict, Verdict::Grace);
    }
    for _ in 0..5 {
        let kind = refused(&rig.sessions, &issued.refresh_token, &client()).await;
        assert_eq!(kind, ErrorKind::LimitReached);
    }
    let session = issued.session_token.expose();
    assert!(rig.sessions.authenticate(session, &client()).await.is_ok());
    let next = rotate(&rig.sessions, &next.refresh_token).await;
    assert_eq!(next.verdict, Verdict::Rotated);
}

/// The token of a generation that the store has never heard of, as it has after a failover that lost
/// writes.
fn ahead(rig: &Rig, token: &RefreshToken, by: u32) -> RefreshToken {
    let mut parts = rig.tokens.refresh_parts(token.expose()).unwrap();
    for _ in 0..by {
        parts = rig.tokens.successor(&parts).unwrap();
    }
    rig.tokens.refresh_token(&parts).unwrap()
}

#[tokio::test]
async fn t22_up_to_eight_lost_rotations_are_repaired_with_an_event_and_nine_are_refused() {
    let Some(rig) = rig(GRACE).await else { return };
    for by in [1, 8] {
        let issued = rig.issue("lost").await;
        let newest = ahead(&rig, &issued.refresh_token, by);
        let repaired = rotate(&rig.sessions, &newest).await;
        assert_eq!(repaired.verdict, Verdict::Repaired, "{by}");
        assert_eq!(repaired.refresh_token, ahead(&rig, &newest, 1), "on the same chain");
        let next = rotate(&rig.sessions, &repaired.refresh_token).await;
        assert_eq!(next.verdict, Verdict::Rotated);
        let actions = rig.actions_of(issued.session.id()).await;
        assert_eq!(actions, ["session.issued", "session.repaired", "session.rotated"]);
        // What the store had before the failover is an old token now.
        let kind = refused(&rig.sessions, &issued.refresh_token, &client()).await;
        assert_eq!(kind, ErrorKind::Reused);
    }
    let issued = rig.issue("lost").await;
    let far = ahead(&rig, &issued.refresh_token, 9);
    assert_eq!(refused(&rig.sessions, &far, &client()).await, ErrorKind::Invalid);
    let session = issued.session_token.expose();
    assert!(rig.sessions.authenticate(session, &client()).await.is_ok());
    assert_eq!(rig.actions_of(issued.session.id()).await, ["session.issued"]);
}

/// Parallel refreshes after the failover: the first repairs, the others get the same successor.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t22_parallel_refreshes_after_lost_rotations_repair_once() {
    let Some(rig) = rig(GRACE).await else { return };
    let issued = rig.issue("lost").await;
    let newest = ahead(&rig, &issued.refresh_token, 3);
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let (sessions, newest) = (rig.sessions.clone(), newest.clone());
            tokio::spawn(async move { rotate(&sessions, &newest).await })
        })
        .collect();
    let (mut repaired, mut graces) = (0, 0);
    for task in tasks {
        let one = task.await.unwrap();
        assert_eq!(one.refresh_token, ahead(&rig, &newest, 1));
        repaired += u32::from(one.verdict == Verdict::Repaired);
        graces += u32::from(one.verdict == Verdict::Grace);
    }
    assert_eq!((repaired, graces), (1, 19));
}
