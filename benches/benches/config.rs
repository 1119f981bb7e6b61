//! Loading the whole configuration, beside the parsing it cannot do without.
//!
//! The floor reads the same variables into a map and parses the same texts by hand, without schema,
//! origins, checks or messages. A load happens once in the life of a process.
#![expect(clippy::unwrap_used, reason = "a bench that cannot run should stop")]
#![expect(clippy::print_stdout, reason = "the ratio is the result")]

use std::collections::HashMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use watchdog_audit::AuditConfig;
use watchdog_core::config::{
    AppConfig, ForecastConfig, Loader, NovaConfig, SecurityConfig, duration,
};
use watchdog_session::SessionConfig;
use watchdog_storage::objects::StorageConfig;
use watchdog_storage::redis::RedisConfig;

type Sections = (
    AppConfig,
    SecurityConfig,
    RedisConfig,
    StorageConfig,
    AuditConfig,
    SessionConfig,
    ForecastConfig,
    NovaConfig,
);

const VARIABLES: [(&str, &str); 14] = [
    ("WATCHDOG_ENV", "production"),
    ("WATCHDOG_ALLOWED_ORIGINS", "https://one.example, https://two.example"),
    ("WATCHDOG_SECRET_KEY", "0123456789abcdef0123456789abcdef"),
    ("WATCHDOG_JWT_SECRET", "123456789abcdef0123456789abcdef0"),
    ("WATCHDOG_ENCRYPTION_KEY", "23456789abcdef0123456789abcdef01"),
    ("WATCHDOG_REDIS_URL", "redis://redis.example:6379"),
    ("WATCHDOG_REDIS_PASSWORD", "12345,67890"),
    ("WATCHDOG_REDIS_COMMAND_TIMEOUT", "750ms"),
    ("WATCHDOG_AUDIT_RETENTION_DAYS", "30"),
    ("WATCHDOG_SESSION_TIMEOUT", "30min"),
    ("WATCHDOG_SESSION_MAX_LIFETIME", "28800"),
    ("WATCHDOG_FORECAST_MAX_HISTORY", "2years"),
    ("WATCHDOG_FORECAST_CONFIDENCE_LEVEL", "0.9"),
    ("WATCHDOG_NOVA_RATE_LIMIT", "100/min"),
];

fn load() {
    black_box(Loader::from_vars(VARIABLES).load::<Sections>().unwrap());
}

fn parse_by_hand() {
    let variables: HashMap<String, String> =
        VARIABLES.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    for (name, value) in &variables {
        match name.as_str() {
            "WATCHDOG_REDIS_COMMAND_TIMEOUT"
            | "WATCHDOG_SESSION_TIMEOUT"
            | "WATCHDOG_SESSION_MAX_LIFETIME" => {
                black_box(duration::parse(value).unwrap());
            }
            "WATCHDOG_AUDIT_RETENTION_DAYS" => {
                black_box(value.parse::<u32>().unwrap());
            }
            "WATCHDOG_FORECAST_CONFIDENCE_LEVEL" => {
                black_box(value.parse::<f64>().unwrap());
            }
            _ => {
                black_box(value.clone());
            }
        }
    }
}

fn configuration(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("config");
    group.bench_function("load eight sections", |bencher| bencher.iter(load));
    group.bench_function("floor: parse by hand", |bencher| bencher.iter(parse_by_hand));
    group.finish();
    println!("config: one load takes {:.1} × the floor", ratio());
}

/// The median ratio of neighbouring rounds, so that drift of the machine's speed cancels out.
fn ratio() -> f64 {
    let mut ratios: Vec<f64> =
        (0..15).map(|_| time(load).as_secs_f64() / time(parse_by_hand).as_secs_f64()).collect();
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

fn time(call: fn()) -> Duration {
    let start = Instant::now();
    for _ in 0..20 {
        call();
    }
    start.elapsed()
}

criterion_group!(benches, configuration);
criterion_main!(benches);
