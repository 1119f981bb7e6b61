//! What is in flight when a session ends does not bring it back.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Barrier;
use watchdog_session::store::{Life, RegenerateOutcome, UpdateOutcome};
use watchdog_session::testing::{Sample, random_location, time_of};
use watchdog_session::{ErrorKind, RedisStore, RevokeReason, SessionConfig, SessionStore, Verdict};
use watchdog_storage::testing::proxy::{Fault, FaultProxy};
use watchdog_storage::testing::redis::{Control, RedisServer, Reply, is_available, shared};

use crate::rig::{Dice, Rig, client, connect, sessions_in};

const ROUNDS: u64 = 60;

#[derive(Clone, Copy, Debug)]
enum Write {
    Touch,
    Rotate,
    /// The login that made the session, once more.
    Login,
    Update,
    Regenerate,
}

#[derive(Clone, Copy, Debug)]
enum End {
    One,
    All,
}

/// A slow process (its calls are on their way for some milliseconds) and a quick one.
struct Field {
    slow: Arc<RedisStore>,
    quick: Arc<RedisStore>,
    prefix: String,
    server: &'static RedisServer,
    _proxy: FaultProxy,
}

impl Field {
    async fn new(server: &'static RedisServer) -> Self {
        let proxy = FaultProxy::start(server.port()).await.unwrap();
        let prefix = format!("t{}", watchdog_session::SessionId::random().unwrap());
        let through = format!("redis://127.0.0.1:{}", proxy.port());
        let slow = Arc::new(connect(&through, &prefix, |_| ()).await);
        let quick = Arc::new(connect(&server.url(), &prefix, |_| ()).await);
        proxy.set(Fault::Delay { to_server: Duration::from_millis(4), to_client: Duration::ZERO });
        Self { slow, quick, prefix, server, _proxy: proxy }
    }

    fn key(&self, sample: &Sample) -> String {
        let location = sample.place.location;
        format!("{}:u:{{{}}}:{}", self.prefix, location.bucket, location.user_text())
    }

    fn data_keys(&self, sample: &Sample) -> String {
        let location = sample.place.location;
        format!("{}:d:{{{}}}:{}:*", self.prefix, location.bucket, location.user_text())
    }
}

async fn write(store: &RedisStore, sample: &Sample, kind: Write) -> bool {
    match kind {
        Write::Touch => store.touch(&sample.touch(0)).await.unwrap().life == Life::Alive,
        Write::Rotate => store.rotate(&sample.rotate(0)).await.unwrap().verdict.is_granted(),
        Write::Login => {
            store.create(&sample.create(100)).await.unwrap();
            false
        }
        Write::Update => {
            let update = sample.update(&[("cart", Some(b"three things"))]);
            matches!(store.update(&update).await.unwrap().outcome, UpdateOutcome::Done { .. })
        }
        Write::Regenerate => {
            let regenerate = sample.regenerate(&sample.successor());
            store.regenerate(&regenerate).await.unwrap().outcome == RegenerateOutcome::Done
        }
    }
}

/// Writes race with the end of the session, on a random schedule. Once the end is acknowledged, no
/// reader sees the session again, however late the writes arrive.
async fn never_comes_back(kinds: &[Write], end: End) {
    let Some(server) = shared() else { return };
    let field = Field::new(server).await;
    let mut control = server.control();
    let (mut before, mut after) = (0, 0);
    for seed in 0..ROUNDS {
        let sample = Sample::new(random_location(), time_of(&*field.quick).await);
        field.quick.create(&sample.create(100)).await.unwrap();
        let mut dice = Dice::new(seed);
        let writes = 2 + dice.roll(6);
        let barrier = Arc::new(Barrier::new(usize::try_from(writes).unwrap() + 1));
        let tasks: Vec<_> = (0..writes)
            .map(|_| {
                let store = if dice.roll(2) == 0 { &field.slow } else { &field.quick };
                let (store, barrier) = (Arc::clone(store), Arc::clone(&barrier));
                let (sample, pause) = (sample.clone(), dice.roll(3000));
                let kind = kinds[usize::try_from(dice.roll(kinds.len() as u64)).unwrap()];
                tokio::spawn(async move {
                    barrier.wait().await;
                    tokio::time::sleep(Duration::from_micros(pause)).await;
                    write(&store, &sample, kind).await
                })
            })
            .collect();
        barrier.wait().await;
        tokio::time::sleep(Duration::from_micros(dice.roll(5000))).await;
        match end {
            End::One => drop(field.quick.revoke(&sample.revoke()).await.unwrap()),
            End::All => drop(field.quick.revoke_all(&sample.revoke_all()).await.unwrap()),
        }
        assert_eq!(field.quick.read(&sample.place).await.unwrap().record, None, "seed {seed}");
        for task in tasks {
            let found_alive = task.await.unwrap();
            (before, after) = (before + u32::from(found_alive), after + u32::from(!found_alive));
            assert_eq!(field.quick.read(&sample.place).await.unwrap().record, None, "seed {seed}");
        }
        assert!(sessions_in(&mut control, &field.key(&sample)).is_empty(), "seed {seed}");
        let left = control.command(&["KEYS", &field.data_keys(&sample)]).unwrap();
        assert_eq!(left, Reply::List(Vec::new()), "seed {seed}: attributes without a session");
    }
    assert!(after > 0, "no write came late");
    if !matches!(kinds, [Write::Login]) {
        assert!(before > 0, "no write came early");
    }
    assert_eq!(field.server.command(&["PING"]).text(), "PONG");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t06_no_write_in_flight_brings_back_a_session_that_logged_out() {
    let all = [Write::Touch, Write::Rotate, Write::Login, Write::Update];
    never_comes_back(&all, End::One).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t06_an_update_in_flight_does_not_bring_back_a_session_or_its_attributes() {
    never_comes_back(&[Write::Update], End::One).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t06_a_login_that_arrives_again_after_the_logout_brings_nothing_back() {
    never_comes_back(&[Write::Login], End::One).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t07_no_write_in_flight_survives_the_end_of_all_sessions() {
    let all = [Write::Touch, Write::Rotate, Write::Login, Write::Update, Write::Regenerate];
    never_comes_back(&all, End::All).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t07_a_touch_in_flight_does_not_bring_back_a_revoked_session() {
    never_comes_back(&[Write::Touch], End::All).await;
}

/// keycloak#51312: a refresh in flight undid the revocation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t08_a_refresh_in_flight_does_not_bring_back_a_revoked_session() {
    never_comes_back(&[Write::Rotate], End::One).await;
    never_comes_back(&[Write::Rotate], End::All).await;
}

/// Signs of life race with the idle timeout: whoever is told that a session is over is the last to
/// see it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t07_a_touch_in_flight_does_not_bring_back_an_expired_session() {
    let Some(server) = shared() else { return };
    let field = Arc::new(Field::new(server).await);
    let mut tasks = Vec::new();
    for seed in 0..40 {
        let field = Arc::clone(&field);
        tasks.push(tokio::spawn(async move {
            let mut sample = Sample::new(random_location(), time_of(&*field.quick).await);
            sample.header.common.idle_timeout = 30;
            field.quick.create(&sample.create(100)).await.unwrap();
            let (mut dice, mut lives) = (Dice::new(seed), Vec::new());
            // Pauses about as long as the timeout: some find it alive, one finds it over.
            while lives.iter().filter(|life| **life != Life::Alive).count() < 8 {
                tokio::time::sleep(Duration::from_millis(dice.roll(36))).await;
                let store = if dice.roll(2) == 0 { &field.slow } else { &field.quick };
                lives.push(store.touch(&sample.touch(0)).await.unwrap().life);
            }
            let over = lives.iter().position(|life| *life != Life::Alive).unwrap();
            assert_eq!(lives[over], Life::Expired, "seed {seed}: {lives:?}");
            assert!(lives[over + 1..].iter().all(|life| *life == Life::Gone), "{lives:?}");
            assert!(!sessions_exist(&field, &sample));
            over
        }));
    }
    let mut alive = 0;
    for task in tasks {
        alive += task.await.unwrap();
    }
    assert!(alive > 0, "no touch found a session alive");
}

fn sessions_exist(field: &Field, sample: &Sample) -> bool {
    let mut control = Control::connect(field.server.port()).unwrap();
    !sessions_in(&mut control, &field.key(sample)).is_empty()
}

/// Requests that carry a valid cookie are under way while the user logs out: those that began after
/// the logout was answered are all refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t08_nothing_is_accepted_after_the_logout_was_answered() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start();
    let rig = Arc::new(Rig::start(&server.url(), SessionConfig::default()).await);
    let peer = rig.peer(&server.url(), |_| ()).await;
    for round in 0..20_u64 {
        let issued = rig.issue(&format!("user-{round}")).await;
        let (is_out, barrier) =
            (Arc::new(std::sync::atomic::AtomicBool::new(false)), Arc::new(Barrier::new(9)));
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let (peer, barrier) = (peer.clone(), Arc::clone(&barrier));
                let (issued, is_out) = (issued.clone(), Arc::clone(&is_out));
                tokio::spawn(async move {
                    barrier.wait().await;
                    let mut refused_after = 0;
                    while refused_after < 5 {
                        let began_after = is_out.load(std::sync::atomic::Ordering::SeqCst);
                        let token = issued.session_token.expose();
                        let was_accepted = peer.authenticate(token, &client()).await.is_ok();
                        assert!(!(began_after && was_accepted), "accepted after the logout");
                        let refresh = issued.refresh_token.expose();
                        let refreshed = peer.rotate(refresh, &client()).await;
                        if began_after {
                            assert_eq!(refreshed.unwrap_err().kind(), ErrorKind::Gone);
                            refused_after += 1;
                        } else if let Ok(rotated) = refreshed {
                            let fine = [Verdict::Rotated, Verdict::Grace];
                            assert!(fine.contains(&rotated.verdict));
                        }
                    }
                })
            })
            .collect();
        barrier.wait().await;
        tokio::time::sleep(Duration::from_micros(500 * (round % 8))).await;
        assert!(rig.sessions.revoke(&issued.session, RevokeReason::Logout).await.unwrap());
        is_out.store(true, std::sync::atomic::Ordering::SeqCst);
        for task in tasks {
            task.await.unwrap();
        }
        let actions = rig.actions_of(issued.session.id()).await;
        assert_eq!(actions.iter().filter(|it| *it == "session.revoked").count(), 1);
    }
}
