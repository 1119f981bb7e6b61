//! Whether the store answers.

use std::time::Instant;

use async_trait::async_trait;
use watchdog_core::HealthCheck;
use watchdog_core::health::CheckReport;

use super::{Objects, list};
use crate::error::{Error, ErrorKind};

/// The health check of a bucket.
///
/// On S3 it is one `ListObjectsV2` request for at most one key under `.watchdog-probe/`, with no
/// retry and a timeout of 2 s. A `HEAD` would cost as little, but its answer for a bucket that
/// does not exist is the one for an object that does not. In a local directory it looks whether the
/// directory is there and its mode allows writing; it writes nothing, so a full disk is not seen.
/// In memory it always passes.
#[derive(Clone, Debug)]
pub struct ObjectsHealth {
    objects: Objects,
}

impl ObjectsHealth {
    pub(super) fn new(objects: Objects) -> Self {
        Self { objects }
    }
}

#[async_trait]
impl HealthCheck for ObjectsHealth {
    async fn check(&self) -> CheckReport {
        let started = Instant::now();
        let outcome = match self.objects.backend.directory() {
            Some(directory) => {
                let directory = directory.to_owned();
                match tokio::task::spawn_blocking(move || std::fs::metadata(directory)).await {
                    Ok(found) => return directory_report(found),
                    Err(_) => return CheckReport::unknown("the look at the directory was cut off"),
                }
            }
            None => list::probe(&self.objects).await,
        };
        let report = match outcome {
            Ok(()) => CheckReport::pass(),
            Err(error) => CheckReport::fail(describe(&error)),
        };
        report.with_observation("round_trip_ms", started.elapsed().as_secs_f64() * 1000.0)
    }
}

fn directory_report(found: std::io::Result<std::fs::Metadata>) -> CheckReport {
    match found {
        Ok(metadata) if !metadata.is_dir() => {
            CheckReport::fail("the storage directory is not a directory")
        }
        Ok(metadata) if metadata.permissions().readonly() => {
            CheckReport::fail("the storage directory is read-only")
        }
        Ok(_) => CheckReport::pass(),
        Err(error) => CheckReport::fail(format!("the storage directory: {}", error.kind())),
    }
}

/// Names no address, key or bucket.
fn describe(error: &Error) -> &'static str {
    match error.kind() {
        ErrorKind::Denied => "the object store refuses the credentials",
        ErrorKind::Config | ErrorKind::NotFound => {
            "the object store has no such bucket, or is not trusted"
        }
        ErrorKind::CommandTimeout | ErrorKind::ConnectTimeout => {
            "the object store did not answer in time"
        }
        ErrorKind::Unavailable | ErrorKind::Refusing => "the object store is unavailable",
        _ => "the object store gave an unexpected answer",
    }
}
