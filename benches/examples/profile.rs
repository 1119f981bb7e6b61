use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use watchdog_core::KeyRing;
use watchdog_session::*;
use watchdog_storage::redis::{Arg, Redis, RedisConfig, Script};
use watchdog_storage::testing::redis::shared;
const TASKS: usize = 64;
static FLOOR: Script = Script::new(
    "bench.session.floor.v1",
    "local r = redis.call('HGET', KEYS[1], ARGV[1]) redis.call('HSET', KEYS[1], ARGV[1], r) return { 'ok', 0, r }",
);
fn client() -> Client {
    Client::new(
        "192.0.2.1".parse().ok(),
        Some(std::env::var("AGENT").unwrap_or("Mozilla/5.0 Firefox/142.0".into())),
    )
}
fn cpu() -> (f64, f64) {
    let s = std::fs::read_to_string("/proc/self/stat").unwrap();
    let f: Vec<_> = s.rsplit(") ").next().unwrap().split(' ').collect();
    (f[11].parse::<f64>().unwrap() / 100., f[12].parse::<f64>().unwrap() / 100.)
}
fn main() {
    let mode = std::env::args().nth(1).unwrap();
    let secs: u64 = std::env::args().nth(2).unwrap().parse().unwrap();
    if mode.starts_with("mem") {
        let keys = KeyRing::ephemeral().unwrap();
        let sessions = Sessions::builder(&keys)
            .config(SessionConfig { grace: Duration::ZERO, ..SessionConfig::default() })
            .build()
            .unwrap();
        let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        rt.block_on(async {
            let c = client();
            let one = sessions.issue(Subject::user("user-1"), &c).await.unwrap();
            let t = Instant::now();
            if mode == "memauth" {
                for _ in 0..secs {
                    std::hint::black_box(
                        sessions.authenticate(one.session_token.expose(), &c).await.unwrap(),
                    );
                }
            } else {
                let mut refresh = one.refresh_token.clone();
                for _ in 0..secs {
                    refresh = sessions.rotate(refresh.expose(), &c).await.unwrap().refresh_token;
                }
            }
            println!("{mode} {:.0} ns/op", t.elapsed().as_nanos() as f64 / secs as f64);
        });
        return;
    }
    let server = shared().unwrap();
    let rt = match std::env::var("WORKERS").as_deref() {
        Ok("0") => tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
        Ok(n) => tokio::runtime::Builder::new_multi_thread()
            .worker_threads(n.parse().unwrap())
            .enable_all()
            .build()
            .unwrap(),
        _ => Runtime::new().unwrap(),
    };
    let config = RedisConfig::from_url(&server.url()).unwrap();
    let redis = rt.block_on(Redis::connect(&config)).unwrap();
    let keys = KeyRing::ephemeral().unwrap();
    let sessions = Sessions::builder(&keys)
        .store(Arc::new(RedisStore::new(redis.clone())))
        .config(SessionConfig { grace: Duration::ZERO, ..SessionConfig::default() })
        .build()
        .unwrap();
    let tokens = TokenKeys::new(&keys.secret).unwrap();
    let mut v = vec![];
    for user in 0..TASKS {
        let one =
            rt.block_on(sessions.issue(Subject::user(format!("user-{user}")), &client())).unwrap();
        let place = tokens.session_parts(one.session_token.expose()).unwrap().place;
        let key = redis.keys().key(
            "u",
            &place.location.bucket.to_string(),
            &[&place.location.user_text()],
        );
        v.push((one, key, format!("s:{}", place.session)));
    }
    for mode in mode.split(',') {
        server.command(&["CONFIG", "RESETSTAT"]);
        let (c0, t0) = (cpu(), Instant::now());
        let end = t0 + Duration::from_secs(secs);
        let n: u64 = rt.block_on(async {
            let mut js = vec![];
            for (one, key, field) in v.iter() {
                let (one, key, field, sessions, redis, mode) = (
                    one.clone(),
                    key.clone(),
                    field.clone(),
                    sessions.clone(),
                    redis.clone(),
                    mode.to_owned(),
                );
                js.push(tokio::spawn(async move {
                    let c = client();
                    let mut n = 0;
                    let mut refresh = one.refresh_token.clone();
                    let fields: [&[u8]; 2] = [field.as_bytes(), b"e"];
                    while Instant::now() < end {
                        for _ in 0..50 {
                            match &*mode {
                                "auth" => {
                                    sessions
                                        .authenticate(one.session_token.expose(), &c)
                                        .await
                                        .unwrap();
                                }
                                "hmget" => {
                                    redis.hmget(&key, &fields).await.unwrap();
                                }
                                "rotate" => {
                                    refresh = sessions
                                        .rotate(refresh.expose(), &c)
                                        .await
                                        .unwrap()
                                        .refresh_token;
                                }
                                "floor" => {
                                    redis
                                        .call(&FLOOR, &[&key], &[Arg::from(&*field)])
                                        .await
                                        .unwrap();
                                }
                                _ => panic!(),
                            }
                            n += 1;
                        }
                    }
                    n
                }));
            }
            let mut n = 0;
            for j in js {
                n += j.await.unwrap();
            }
            n
        });
        let (c1, w) = (cpu(), t0.elapsed().as_secs_f64());
        println!(
            "{mode}: {:.0}/s  client cpu {:.2} us/op (user {:.2} sys {:.2}) wall {:.2} us/op",
            n as f64 / w,
            (c1.0 + c1.1 - c0.0 - c0.1) * 1e6 / n as f64,
            (c1.0 - c0.0) * 1e6 / n as f64,
            (c1.1 - c0.1) * 1e6 / n as f64,
            w * 1e6 / n as f64
        );
        let stats = format!("{:?}", server.command(&["INFO", "commandstats"]));
        for l in stats.split("\\r\\n").filter(|l| {
            l.contains("evalsha")
                || l.contains("hmget")
                || l.contains("hset:")
                || l.contains("hget:")
                || l.contains("time:")
        }) {
            println!("   {l}");
        }
    }
}
