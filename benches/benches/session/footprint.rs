//! What a session costs: memory of the server, commands and bytes of a request.

use watchdog_storage::testing::redis::Reply;

use crate::bed::{Bed, TASKS};
use crate::request::{App, ours, theirs};

/// Requests of each session that are counted. None of them renews: a minute has not passed.
const REQUESTS: usize = 10;

pub(crate) fn print() {
    let Some(bed) = Bed::make() else { return };
    let ours = Cost::of(&bed, &ours(&bed), "wd:u:*");
    bed.server.command(&["FLUSHALL"]);
    let theirs = Cost::of(&bed, &theirs(&bed), "*");
    println!("\n| cost | ours | tower-sessions |");
    println!("|---|---|---|");
    let line = |what: &str, of: fn(&Cost) -> f64| {
        println!("| {what} | {:.2} | {:.2} |", of(&ours), of(&theirs));
    };
    line("bytes of memory in Redis, of a session", |cost| cost.memory);
    line("commands, of a request", |cost| cost.commands);
    line("bytes to Redis, of a request", |cost| cost.sent);
    line("bytes from Redis, of a request", |cost| cost.received);
}

struct Cost {
    memory: f64,
    commands: f64,
    sent: f64,
    received: f64,
}

impl Cost {
    fn of(bed: &Bed, app: &App, keys: &str) -> Self {
        let memory = memory(bed, keys);
        // What asking for the statistics costs itself.
        let (start, begun) = (Counted::now(bed), Counted::now(bed));
        bed.runtime.block_on(async {
            for _ in 0..REQUESTS {
                for task in 0..TASKS {
                    app.ask(task).await;
                }
            }
        });
        let end = Counted::now(bed);
        let per_request = |of: fn(&Counted) -> f64| {
            let asking = of(&begun) - of(&start);
            (of(&end) - of(&begun) - asking) / (REQUESTS * TASKS) as f64
        };
        Self {
            memory,
            commands: per_request(|counted| counted.commands),
            sent: per_request(|counted| counted.sent),
            received: per_request(|counted| counted.received),
        }
    }
}

/// Bytes of one session: of all keys, shared out.
fn memory(bed: &Bed, keys: &str) -> f64 {
    let Reply::List(keys) = bed.server.command(&["KEYS", keys]) else { unreachable!() };
    let usage = keys.iter().map(|key| {
        let usage = bed.server.command(&["MEMORY", "USAGE", key.text(), "SAMPLES", "0"]);
        usage.text().parse::<f64>().unwrap()
    });
    usage.sum::<f64>() / TASKS as f64
}

/// What the server has counted so far.
struct Counted {
    commands: f64,
    sent: f64,
    received: f64,
}

impl Counted {
    fn now(bed: &Bed) -> Self {
        let stats = bed.server.command(&["INFO", "stats"]);
        let number = |name: &str| {
            let line = stats.text().lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().parse().unwrap()
        };
        Self {
            commands: number("total_commands_processed:"),
            sent: number("total_net_input_bytes:"),
            received: number("total_net_output_bytes:"),
        }
    }
}
