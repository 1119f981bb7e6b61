//! Keys that a development machine makes for itself.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind as IoKind, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroize;

use crate::error::{Error, ErrorKind, Result};
use crate::keyring::{MIN_SECRET_BYTES, fill_random};
use crate::secret::Secret;

const FILE: &str = "development-keys.json";
const VERSION: u32 = 1;

/// The content of the file. Its own `Serialize` writes the secrets out: this is their place.
#[derive(Deserialize)]
pub(super) struct Keys {
    version: u32,
    secret_key: Secret<String>,
    jwt_secret: Secret<String>,
    encryption_key: Secret<String>,
}

#[derive(Serialize)]
struct Plain<'a> {
    version: u32,
    secret_key: &'a str,
    jwt_secret: &'a str,
    encryption_key: &'a str,
}

impl Keys {
    pub(super) fn secret(&self, field: &str) -> Option<&Secret<String>> {
        match field {
            "secret_key" => Some(&self.secret_key),
            "jwt_secret" => Some(&self.jwt_secret),
            "encryption_key" => Some(&self.encryption_key),
            _ => None,
        }
    }
}

/// The keys of a folder, made when there are none.
pub(super) fn open(folder: &Path) -> Result<Keys> {
    let path = folder.join(FILE);
    if !path.exists() {
        make(folder).map_err(|error| unusable("cannot be made", error))?;
        create(folder, &path).map_err(|error| unusable("takes no file", error))?;
    }
    let text = fs::read(&path).map_err(|error| unusable("cannot be read", error))?;
    let keys: Option<Keys> = serde_json::from_slice(&text).ok();
    // What serde says may show the content.
    let keys = keys.filter(|keys| keys.version == VERSION).ok_or_else(|| {
        Error::new(ErrorKind::Key, format_args!("{} holds no keys: delete it", path.display()))
    })?;
    tracing::warn!(
        file = %path.display(),
        "development keys are in use: configure WATCHDOG_SECRET_KEY, WATCHDOG_JWT_SECRET and \
         WATCHDOG_ENCRYPTION_KEY before this serves anybody else"
    );
    Ok(keys)
}

/// Folders that are not there are made for their owner alone.
fn make(folder: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

fn unusable(what: &str, error: std::io::Error) -> Error {
    let context = format!("the folder for development keys {what}");
    Error::new(ErrorKind::Unavailable, context).with_source(error)
}

/// Writes a complete file under another name and links it: of two processes one wins, and the
/// other reads what the first has written.
fn create(folder: &Path, path: &Path) -> std::io::Result<()> {
    let draft = folder.join(format!(".{FILE}.{}", Uuid::new_v4()));
    let written = write(&draft).and_then(|()| match fs::hard_link(&draft, path) {
        Err(error) if error.kind() == IoKind::AlreadyExists => Ok(()),
        result => result,
    });
    let removed = fs::remove_file(&draft);
    written.and(removed)
}

fn write(draft: &Path) -> std::io::Result<()> {
    let [secret, jwt, encryption] = [random()?, random()?, random()?];
    let plain = Plain {
        version: VERSION,
        secret_key: secret.expose(),
        jwt_secret: jwt.expose(),
        encryption_key: encryption.expose(),
    };
    let mut text = serde_json::to_vec_pretty(&plain)?;
    let written = owned_file(draft).and_then(|mut file| {
        file.write_all(&text)?;
        file.sync_all()
    });
    text.zeroize();
    written
}

fn owned_file(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn random() -> std::io::Result<Secret<String>> {
    let mut bytes = [0; MIN_SECRET_BYTES];
    fill_random(&mut bytes).map_err(std::io::Error::other)?;
    let text = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.zeroize();
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn many_at_once_agree() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("made/on/the/way");
        let barrier = Barrier::new(8);
        let found: Vec<Keys> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        open(&path).unwrap()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(found.iter().all(|keys| keys.secret_key == found[0].secret_key));
        assert_eq!(fs::read_dir(&path).unwrap().count(), 1, "no draft stays behind");
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_read_the_file_and_enter_the_folder() {
        use std::os::unix::fs::PermissionsExt;

        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("keys");
        open(&folder).unwrap();
        let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(folder.join(FILE)), 0o600);
        assert_eq!(mode(folder), 0o700);
    }

    #[test]
    fn a_file_of_something_else_is_refused_without_being_shown() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), r#"{"secret_key": 7, "x": "hunter2"}"#).unwrap();
        let error = open(folder.path()).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Key);
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}
