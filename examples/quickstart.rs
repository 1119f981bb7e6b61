//! The whole path in one run: a login, a request, a token rotation, a stolen token, the audit log
//! archived and verified, a health report.
//!
//! `cargo run --example quickstart` needs no server. With `WATCHDOG_REDIS_URL`, `WATCHDOG_DB_HOST`,
//! `WATCHDOG_STORAGE_TYPE=s3` and their companions set, the same steps run on real ones.
#![expect(clippy::print_stdout, reason = "printing is what this example is for")]

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use watchdog_audit::{AuditConfig, AuditLog, EmbeddedStore, RedisStore as RedisSegments};
use watchdog_core::audit::{Category, Client};
use watchdog_core::config::{AppConfig, Environment, Loader, SecurityConfig};
use watchdog_core::{KeyRing, SystemClock};
use watchdog_health::{CheckSpec, Health, Impact};
use watchdog_session::{ErrorKind, RedisStore, SessionConfig, Sessions, Subject};
use watchdog_storage::objects::{Objects, StorageConfig, StorageType};
use watchdog_storage::postgres::{DbConfig, Postgres};
use watchdog_storage::redis::{Redis, RedisConfig};

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Sections =
    (AppConfig, SecurityConfig, RedisConfig, DbConfig, StorageConfig, AuditConfig, SessionConfig);

/// Everything the steps need, embedded or on real servers.
struct Platform {
    sessions: Sessions,
    audit: AuditLog,
    objects: Objects,
    health: Health,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let started = Instant::now();
    let folder = tempfile::tempdir()?;
    let platform = assemble(folder.path()).await?;
    let alice = Client::new(Some(IpAddr::from([203, 0, 113, 7])), Some("Firefox/143.0".into()));

    let refresh = sign_in(&platform.sessions, &alice).await?;
    let stolen = refresh.clone();
    rotate(&platform.sessions, &refresh, &alice).await?;
    steal(&platform.sessions, &stolen).await?;
    archive(&platform).await?;
    tamper(&platform).await?;
    report(&platform.health).await;

    platform.audit.shutdown(Duration::from_secs(5)).await?;
    println!("\nDone in {} ms.", started.elapsed().as_millis());
    Ok(())
}

/// Loads the configuration and builds what it asks for.
async fn assemble(folder: &std::path::Path) -> Result<Platform, Failure> {
    let config = Loader::from_env().load::<Sections>()?;
    let environment = config.environment();
    let (app, security, redis, db, mut storage, mut audit, session) = config.into_inner();
    title("Configuration");
    println!("  environment  {}, service {}", environment.as_str(), app.service_name);

    // What a server remembers of this run has to find the rest of it where the settings say; a run
    // without any server leaves nothing behind.
    if !redis.is_configured() && storage.kind != StorageType::S3 {
        storage.local_path = folder.join("objects");
        audit.spool_directory = folder.join("audit");
    }
    let keys_folder = storage.local_path.with_file_name("keys");
    let made_here = (environment == Environment::Development).then_some(&*keys_folder);
    let keys: KeyRing = security.key_ring(made_here)?;
    let redis = if redis.is_configured() { Some(Redis::connect(&redis).await?) } else { None };
    let db = if db.host.is_some() { Some(Postgres::connect(&db).await?) } else { None };
    let objects = Objects::from_config(&storage)?;
    println!("  sessions     {}", if redis.is_some() { "Redis" } else { "in memory" });
    println!("  audit log    {}", if redis.is_some() { "Redis" } else { "an embedded file" });
    let archive = match storage.kind {
        StorageType::S3 => "S3",
        StorageType::Local => "a local directory",
        _ => "in memory",
    };
    println!("  archive      {archive}");

    let mut log = AuditLog::builder()
        .with_config(&audit)
        .with_encryption(&keys.encryption)
        .with_archive(objects.clone(), &keys.secret)
        .without_background();
    log = match &redis {
        Some(redis) => log.with_store(RedisSegments::new(redis.clone(), audit.partitions)),
        None => log.with_store(EmbeddedStore::open(&audit.spool_directory)?),
    };
    let log = log.build().await?;

    let mut sessions = Sessions::builder(&keys)
        .config(session)
        .clock(Arc::new(SystemClock))
        .audit(Arc::new(log.clone()));
    if let Some(redis) = &redis {
        sessions = sessions.store(Arc::new(RedisStore::new(redis.clone())));
    }
    let sessions = sessions.build()?;

    let mut health = Health::builder()
        .check(CheckSpec::new("storage"), Arc::new(objects.health()))
        .check(CheckSpec::new("sessions"), Arc::new(sessions.health()))
        .check(CheckSpec::new("audit").with_impact(Impact::Degrading), Arc::new(log.health()));
    if let Some(redis) = &redis {
        health = health.check(CheckSpec::new("redis"), Arc::new(redis.health()));
    }
    if let Some(db) = &db {
        health = health.check(CheckSpec::new("db"), Arc::new(db.health()));
    }
    Ok(Platform { sessions, audit: log, objects, health: health.build()? })
}

async fn sign_in(sessions: &Sessions, client: &Client) -> Result<String, Failure> {
    title("A login and a request");
    let issued = sessions.issue(Subject::user("alice").with_roles(["admin"]), client).await?;
    println!("  issued       session {}", issued.session.id());

    let session = sessions.authenticate(issued.session_token.expose(), client).await?;
    println!("  cookie       {} with roles {:?}: one read", session.user(), session.roles());
    let session = sessions.authenticate_access(issued.access_token.expose())?;
    println!(
        "  access token {}: no round trip, for {} s",
        session.user(),
        issued.expires_in.as_secs()
    );

    let mut forged = issued.session_token.expose().to_owned();
    forged.replace_range(20..21, if &forged[20..21] == "A" { "B" } else { "A" });
    let Err(refused) = sessions.authenticate(&forged, client).await else {
        return Err("a forged token was honoured".into());
    };
    println!("  forged       {refused}: no round trip either");
    Ok(issued.refresh_token.expose().to_owned())
}

async fn rotate(sessions: &Sessions, refresh: &str, client: &Client) -> Result<(), Failure> {
    title("Two tabs refresh at once");
    let (one, two) =
        tokio::join!(sessions.rotate(refresh, client), sessions.rotate(refresh, client));
    let (one, two) = (one?, two?);
    println!("  verdicts     {:?} and {:?}", one.verdict, two.verdict);
    let same = one.refresh_token.expose() == two.refresh_token.expose();
    println!("  successor    the same for both: {same}. Nobody is logged out.");
    Ok(())
}

async fn steal(sessions: &Sessions, stolen: &str) -> Result<(), Failure> {
    title("The old refresh token turns up elsewhere");
    let thief = Client::new(Some(IpAddr::from([198, 51, 100, 66])), Some("curl/8.15".into()));
    match sessions.rotate(stolen, &thief).await {
        Err(error) if error.kind() == ErrorKind::Reused => {
            println!("  refused      {error}");
            println!(
                "  consequence  session and successor are dead, the theft is on record: one step"
            );
        }
        Err(error) => return Err(error.into()),
        Ok(_) => return Err("a stolen token was honoured".into()),
    }
    sessions.deliver_events().await?;
    Ok(())
}

async fn archive(platform: &Platform) -> Result<(), Failure> {
    title("The audit log");
    for record in platform.audit.query(&watchdog_audit::Query::new()).await?.records.iter().rev() {
        let entry = &record.entry;
        println!("  {:<12} {} by {}", entry.category.as_str(), entry.action, entry.actor.id);
    }
    let archived = platform.audit.seal_and_archive().await?;
    println!("  archived     {} entries, read back and compared", archived.entries);
    let verified = platform.audit.verify().await?;
    println!("  verified     every object, hash and signature, sound: {}", verified.is_sound());
    Ok(())
}

/// Alters one byte of the archive, as somebody with access to the bucket could, and mends it.
async fn tamper(platform: &Platform) -> Result<(), Failure> {
    title("Somebody edits the archive");
    let prefix = format!("audit/v1/category={}", Category::Security);
    let page = platform.objects.list(&prefix, None, 1).await?;
    let Some(object) = page.objects.first() else { return Err("nothing was archived".into()) };
    let original = platform.objects.get(&object.key).await?;
    let mut altered = original.to_vec();
    altered[original.len() / 2] ^= 1;
    platform.objects.put(&object.key, altered.into()).await?;
    match platform.audit.verify().await?.fault {
        Some(fault) => println!("  found        {fault}"),
        None => return Err("an altered byte went unnoticed".into()),
    }
    platform.objects.put(&object.key, original).await?;
    println!("  mended       sound: {}", platform.audit.verify().await?.is_sound());
    Ok(())
}

async fn report(health: &Health) {
    title("Health");
    health.first_results().await;
    for check in health.checks() {
        println!("  {:<12} {}", check.name, check.status);
    }
    println!("  ready        {}", health.readiness());
}

fn title(text: &str) {
    println!("\n{text}");
}
