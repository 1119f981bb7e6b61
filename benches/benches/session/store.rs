//! Authenticating and rotating beside their floors.

use std::sync::Arc;

use tokio::sync::Mutex;
use watchdog_session::rotation::{Presented, Rules};
use watchdog_session::store::{Rotate, SessionStore as _};
use watchdog_session::{Place, RedisStore, Verdict};
use watchdog_storage::redis::{Arg, Key, Redis, Script};

use crate::bed::{Bed, client};
use crate::rate::{Effort, Line, compare, throughput};

/// What a rotation asks of the server and what it tells it, without a decision: the time, the
/// record with the user's stamp, the stamp of everybody; the record written; as many bytes
/// answered.
static FLOOR: Script = Script::new(
    "bench.session.floor.v2",
    "local time = redis.call('TIME') \
     local held = redis.call('HMGET', KEYS[1], 's:' .. ARGV[4], 'e') \
     redis.call('GET', KEYS[#KEYS]) \
     redis.call('HSET', KEYS[1], 's:' .. ARGV[4], held[1]) \
     return { 'rotated', time[1] * 1000, held[1] }",
);

pub(crate) fn authenticate(bed: &Bed, effort: Effort) -> Line {
    let authenticate = || {
        throughput(&bed.runtime, effort.calls, |task, calls| {
            let (sessions, token) = (bed.sessions.clone(), bed.issued[task].session_token.clone());
            async move {
                let client = client();
                for _ in 0..calls {
                    sessions.authenticate(token.expose(), &client).await.unwrap();
                }
            }
        })
    };
    let hmget = || {
        throughput(&bed.runtime, effort.calls, |task, calls| {
            let (redis, (key, field)) = (bed.redis.clone(), bed.places[task].clone());
            async move {
                let fields: [&[u8]; 2] = [field.as_bytes(), b"e"];
                for _ in 0..calls {
                    redis.hmget(&key, &fields).await.unwrap();
                }
            }
        })
    };
    let what = ("authenticate", "HMGET of the same record", Some(0.9));
    compare(what, effort.rounds, authenticate, hmget)
}

pub(crate) fn rotate(bed: &Bed, effort: Effort) -> Line {
    let refresh: Vec<_> = bed
        .issued
        .iter()
        .map(|issued| Arc::new(Mutex::new(issued.refresh_token.clone())))
        .collect();
    let turn = |task: usize, calls: u32| {
        let (sessions, refresh) = (bed.sessions.clone(), Arc::clone(&refresh[task]));
        async move {
            let (client, mut token) = (client(), refresh.lock().await);
            for _ in 0..calls {
                *token = sessions.rotate(token.expose(), &client).await.unwrap().refresh_token;
            }
        }
    };
    let sent: Vec<_> = (0..bed.issued.len())
        .map(|task| {
            let words = bed.overhear("EVALSHA", || bed.runtime.block_on(turn(task, 1)));
            Arc::new(Sent::of(&bed.redis, &words))
        })
        .collect();
    let rotate = || throughput(&bed.runtime, effort.calls, turn);
    let floor = || {
        throughput(&bed.runtime, effort.calls, |task, calls| {
            let (redis, sent) = (bed.redis.clone(), Arc::clone(&sent[task]));
            async move {
                for _ in 0..calls {
                    sent.send(&redis).await;
                }
            }
        })
    };
    let what = ("rotate", "a script that reads and writes the same bytes", Some(0.8));
    compare(what, effort.rounds, rotate, floor)
}

/// The store's part of a rotation: no tokens are checked and none are made.
pub(crate) fn rotate_in_store(effort: Effort) -> Option<Line> {
    let bed = Bed::make()?;
    let store = RedisStore::new(bed.redis.clone());
    let mut sent = Vec::new();
    let mut chains = Vec::new();
    for issued in &bed.issued {
        let (sessions, token) = (bed.sessions.clone(), issued.refresh_token.clone());
        let words = bed.overhear("EVALSHA", || {
            bed.runtime.block_on(sessions.rotate(token.expose(), &client())).unwrap();
        });
        let one = Sent::of(&bed.redis, &words);
        chains.push(Arc::new(Mutex::new(one.next(bed.place(issued)))));
        sent.push(Arc::new(one));
    }
    let rotate = || {
        throughput(&bed.runtime, effort.calls, |task, calls| {
            let (store, chain) = (store.clone(), Arc::clone(&chains[task]));
            async move {
                let mut request = chain.lock().await;
                for _ in 0..calls {
                    let reply = store.rotate(&request).await.unwrap();
                    assert_eq!(reply.verdict, Verdict::Rotated);
                    let presented = &mut request.presented;
                    presented.generation += 1;
                    presented.digest = presented.successor;
                    presented.successor[..4].copy_from_slice(&presented.generation.to_be_bytes());
                    presented.nonce[..4].copy_from_slice(&presented.generation.to_be_bytes());
                }
            }
        })
    };
    let floor = || {
        throughput(&bed.runtime, effort.calls, |task, calls| {
            let (redis, sent) = (bed.redis.clone(), Arc::clone(&sent[task]));
            async move {
                for _ in 0..calls {
                    sent.send(&redis).await;
                }
            }
        })
    };
    let what = ("rotate, without its tokens", "the same script", Some(0.8));
    Some(compare(what, effort.rounds, rotate, floor))
}

/// What a rotation sent: keys and arguments, byte for byte.
struct Sent {
    keys: Vec<Key>,
    args: Vec<Vec<u8>>,
}

impl Sent {
    /// From the words `EVALSHA sha number key … arg …`.
    fn of(redis: &Redis, words: &[Vec<u8>]) -> Self {
        let text = |word: &[u8]| String::from_utf8(word.to_vec()).unwrap();
        let keys: usize = text(&words[2]).parse().unwrap();
        let (keys, args) = words[3..].split_at(keys);
        Self {
            keys: keys.iter().map(|word| key(redis, &text(word))).collect(),
            args: args.to_vec(),
        }
    }

    /// The rotation after this one.
    fn next(&self, place: Place) -> Rotate {
        let number =
            |index: usize| std::str::from_utf8(&self.args[index]).unwrap().parse::<u64>().unwrap();
        let presented = Presented {
            generation: u32::try_from(number(4)).unwrap() + 1,
            digest: self.args[6][..].try_into().unwrap(),
            successor: [1; 32],
            client: self.args[7][..].try_into().unwrap(),
            nonce: [1; 8],
            made_at: number(16),
            ip: None,
            agent_tag: self.args[10][..].try_into().unwrap(),
            bind_agent: false,
            family: 4,
        };
        let rules = Rules { rotate: true, grace: number(14), grace_limit: 64 };
        Rotate { place, presented, rules, outbox: None }
    }

    async fn send(&self, redis: &Redis) {
        let keys: Vec<&Key> = self.keys.iter().collect();
        let args: Vec<Arg<'_>> = self.args.iter().map(|arg| Arg::Bytes(arg)).collect();
        redis.call(&FLOOR, &keys, &args).await.unwrap();
    }
}

/// The key with this text: `prefix:kind:{tag}:part:…`.
fn key(redis: &Redis, text: &str) -> Key {
    let mut pieces = text.split(':').skip(1);
    let (kind, tag) = (pieces.next().unwrap(), pieces.next().unwrap());
    let parts: Vec<&str> = pieces.collect();
    let key = redis.keys().key(kind, tag.trim_matches(['{', '}']), &parts);
    assert_eq!(key.as_str(), text);
    key
}
