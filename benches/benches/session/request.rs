//! One authenticated request through a whole router, beside the peer: read the session, answer
//! with the user, and see to it that the session lives on.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::header::{COOKIE, SET_COOKIE, USER_AGENT as AGENT};
use axum::http::{HeaderValue, Request, StatusCode};
use axum::routing::get;
use axum::{Extension, Router};
use tower::ServiceExt as _;
use watchdog_session::SessionStore as _;
use watchdog_session::store::Touch;
use watchdog_session::web::{CookieSettings, CurrentSession, WebSessions};
use watchdog_session::{Place, RedisStore};

use crate::bed::{Bed, TASKS, USER_AGENT, client, user};
use crate::peer;
use crate::rate::{Effort, Line, compare as in_turn, throughput};

/// A router, and a cookie for each caller.
#[derive(Clone)]
pub(crate) struct App {
    router: Router,
    cookies: Arc<Vec<HeaderValue>>,
}

impl App {
    pub(crate) async fn ask(&self, task: usize) {
        let request = Request::builder()
            .uri("/me")
            .header(COOKIE, &self.cookies[task])
            .header(AGENT, USER_AGENT)
            .body(Body::empty())
            .unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let body = to_bytes(response.into_body(), 1024).await.unwrap();
        assert_eq!(body, user(task).as_bytes());
    }

    fn per_second(&self, bed: &Bed, calls: u32) -> f64 {
        throughput(&bed.runtime, calls, |task, calls| {
            let app = self.clone();
            async move {
                for _ in 0..calls {
                    app.ask(task).await;
                }
            }
        })
    }
}

/// The cookie out of a `Set-Cookie`.
fn cookie(header: &HeaderValue) -> HeaderValue {
    let pair = header.to_str().unwrap().split(';').next().unwrap();
    HeaderValue::from_str(pair).unwrap()
}

/// Ours. The use is noted in the background, at most once a minute for each session.
pub(crate) fn ours(bed: &Bed) -> App {
    async fn me(CurrentSession(session): CurrentSession) -> String {
        session.user().to_owned()
    }
    app(bed, Router::new().route("/me", get(me)))
}

/// Ours, were the use noted at every request, and waited for.
fn renewing(bed: &Bed) -> App {
    async fn me(
        CurrentSession(session): CurrentSession,
        Extension(renewal): Extension<Renewal>,
    ) -> String {
        let place = renewal.places[usize::from_str_radix(&session.user()[..8], 16).unwrap()];
        let touch = Touch { place, interval: 0, outbox: None };
        renewal.store.touch(&touch).await.unwrap();
        session.user().to_owned()
    }
    let places = bed.issued.iter().map(|issued| bed.place(issued)).collect();
    let store = Arc::new(RedisStore::new(bed.redis.clone()));
    let renewal = Extension(Renewal { store, places: Arc::new(places) });
    app(bed, Router::new().route("/me", get(me)).layer(renewal))
}

#[derive(Clone)]
struct Renewal {
    store: Arc<RedisStore>,
    places: Arc<Vec<Place>>,
}

fn app(bed: &Bed, routes: Router) -> App {
    let web = WebSessions::new(bed.sessions.clone(), CookieSettings::default()).unwrap();
    let cookies = bed
        .issued
        .iter()
        .map(|issued| cookie(&web.signed_in(issued).unwrap()[SET_COOKIE]))
        .collect();
    let router = routes.layer(web.layer()).layer(Extension(client()));
    App { router, cookies: Arc::new(cookies) }
}

pub(crate) fn theirs(bed: &Bed) -> App {
    bed.runtime.block_on(async {
        let router = peer::router(peer::connect(&bed.server.url()).await);
        let mut cookies = Vec::new();
        for number in 0..TASKS {
            let request = Request::builder().uri(format!("/login/{number}"));
            let request = request.body(Body::empty()).unwrap();
            let response = router.clone().oneshot(request).await.unwrap();
            cookies.push(cookie(&response.headers()[SET_COOKIE]));
        }
        App { router, cookies: Arc::new(cookies) }
    })
}

const PEER: &str = "tower-sessions 0.14, redis store 0.16";

pub(crate) fn compare(bed: &Bed, effort: Effort) -> Line {
    let (ours, theirs) = (ours(bed), theirs(bed));
    in_turn(
        ("request with idle renewal", PEER, Some(1.8)),
        effort.rounds,
        || ours.per_second(bed, effort.calls),
        || theirs.per_second(bed, effort.calls),
    )
}

pub(crate) fn compare_renewing(bed: &Bed, effort: Effort) -> Line {
    let (ours, theirs) = (renewing(bed), theirs(bed));
    in_turn(
        ("the same, renewed at every request", PEER, None),
        effort.rounds,
        || ours.per_second(bed, effort.calls),
        || theirs.per_second(bed, effort.calls),
    )
}
