//! Sessions beside their floors and beside tower-sessions, all in one run: rates of 64 tasks, two
//! ways in turn, medians of rounds; then what a session costs in memory and on the wire. The table
//! stands at the end.
//!
//! A floor is what no store could go below through the same client: a plain `HMGET` of the same
//! record for authenticating; for rotating, a script that is handed the very bytes a rotation
//! sends, asks the server for the same things, writes as many bytes, answers with as many, and
//! decides nothing.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench stops at what it did not expect, and prints what it found"
)]

mod bed;
mod footprint;
mod peer;
mod rate;
mod request;
mod store;
mod token;

use criterion::{Criterion, criterion_group};

use bed::Bed;
use rate::{Effort, Line};

criterion_group!(benches, token::bench);

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
    let Some(bed) = Bed::make() else { return };
    let effort = Effort::asked_for();
    let mut lines = vec![store::authenticate(&bed, effort), store::rotate(&bed, effort)];
    lines.extend(store::rotate_in_store(effort));
    lines.push(request::compare(&bed, effort));
    lines.push(request::compare_renewing(&bed, effort));
    println!("\n{} rounds of {} calls of {} tasks each\n", effort.rounds, effort.calls, bed::TASKS);
    print(&lines);
    footprint::print();
}

fn print(lines: &[Line]) {
    println!("| what | beside | calls/s | calls/s | ratio | goal |");
    println!("|---|---|---|---|---|---|");
    for line in lines {
        let goal = line.goal.map_or_else(String::new, |goal| format!("{goal:.2}"));
        println!(
            "| {} | {} | {:.0} | {:.0} | **{:.2}** | {goal} |",
            line.name, line.beside, line.ours, line.theirs, line.ratio,
        );
    }
}
