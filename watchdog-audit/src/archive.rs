//! The bucket: where everything of the archive stands, and how it is read back.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use tokio::sync::Mutex;
use watchdog_core::audit::Category;
use watchdog_storage::objects::{Budget, Objects, Put};

use crate::chain::{Chain, Fault, FaultKind};
use crate::entry::MAX_LINE_BYTES;
use crate::error::{Error, ErrorKind, Result, storage};
use crate::manifest::ArchivedObject;
use crate::segment::SegmentId;
use crate::signing::Signer;
use crate::tlog::{Log, Tiling};
use crate::writer_id::WriterId;

const PREFIX: &str = "audit/v1";
const OBJECTS: &str = "audit/v1/category=";
const MANIFESTS: &str = "audit/v1/manifest/";
const EPOCHS: &str = "audit/v1/epoch/";
const PAGE: usize = 1000;
/// Manifests that are read at once; one after the other joins the chain.
const MANIFESTS_AT_ONCE: usize = 8;

/// Most bytes the lines of one object take. A segment of the greatest size, 64 MiB, and one frame
/// more stay below it; anything that announces more is not ours.
pub(crate) const MAX_RAW_BYTES: u64 = 96 * 1024 * 1024;

/// Longest manifest that is read, in bytes: one with 30 000 writers has under 4 MiB.
const MAX_MANIFEST_BYTES: u64 = 16 * 1024 * 1024;
/// How much longer than announced an object may be to be looked into, beside twice as long.
const MAX_ADDED_BYTES: u64 = 1024 * 1024;
/// Most bytes one object takes: lines that do not compress, and what zstd adds to them.
const MAX_OBJECT_BYTES: u64 = MAX_RAW_BYTES + 1024 * 1024;

/// The archive in one bucket.
#[derive(Debug)]
pub(crate) struct Archive {
    bucket: Objects,
    signer: Signer,
    /// What the manifests said when they were last read.
    chain: Mutex<Arc<Chain>>,
    /// The edge of the tree after the manifest with this number, whose tiles are written.
    edge: Mutex<(u64, Tiling)>,
    /// Segments the chain says could not be read whole.
    unreadable: AtomicU64,
    /// Releases of legal holds that archived entries were searched for: in how many manifests there
    /// is none, `None` when one was found.
    told: Mutex<HashMap<String, Option<usize>>>,
}

/// The key of a manifest.
pub(crate) fn manifest_key(number: u64) -> String {
    format!("{MANIFESTS}{number:020}.jsonl")
}

/// The key of an epoch.
fn epoch_key(number: u64) -> String {
    format!("{EPOCHS}{number:020}.json")
}

/// The number in a key that ends in one, as [`manifest_key`] makes it.
fn number_in(key: &str) -> Option<u64> {
    let name = key.rsplit('/').next()?;
    name.split('.').next()?.parse().ok()
}

/// The key of the object with the entries of one category and day; it carries the content's hash.
pub(crate) fn object_key(
    category: Category,
    date: &str,
    segment: SegmentId,
    sha256: &str,
) -> String {
    let hash = sha256.get(..16).unwrap_or(sha256);
    format!(
        "{PREFIX}/category={category}/date={date}/p={:05}/seg={:020}.{hash}.jsonl.zst",
        segment.partition, segment.number
    )
}

/// The key of an object with frames of a segment that could not be read; it carries the content's
/// hash.
pub(crate) fn unreadable_key(segment: SegmentId, sha256: &str) -> String {
    let hash = sha256.get(..16).unwrap_or(sha256);
    let SegmentId { partition, number } = segment;
    format!("{PREFIX}/unreadable/p={partition:05}/seg={number:020}.{hash}.frames.zst")
}

/// The segment in a key that [`object_key`] makes, and the key up to the hash.
pub(crate) fn segment_in(key: &str) -> Option<(SegmentId, &str)> {
    let (place, name) = key.rsplit_once('/')?;
    let (number, rest) = name.strip_prefix("seg=")?.split_once('.')?;
    let hash = rest.strip_suffix(".jsonl.zst")?;
    let (day, partition) = place.rsplit_once("/p=")?;
    let (category, date) = day.strip_prefix(OBJECTS)?.split_once("/date=")?;
    let category = Category::ALL.into_iter().find(|known| known.as_str() == category)?;
    let segment = SegmentId { partition: partition.parse().ok()?, number: number.parse().ok()? };
    let is_ours = object_key(category, date, segment, hash) == key;
    is_ours.then(|| (segment, key.strip_suffix(rest).unwrap_or(key)))
}

impl Archive {
    pub(crate) fn new(bucket: Objects, signer: Signer) -> Self {
        // Nobody waits for the archive: it may try longer.
        let bucket = bucket.with_budget(Budget::Background).with_max_size(MAX_OBJECT_BYTES);
        Self {
            bucket,
            signer,
            chain: Mutex::default(),
            edge: Mutex::default(),
            unreadable: AtomicU64::new(0),
            told: Mutex::default(),
        }
    }

    pub(crate) fn signer(&self) -> &Signer {
        &self.signer
    }

    /// Reads the manifests that came since the last time.
    pub(crate) async fn refreshed(&self) -> Result<Arc<Chain>> {
        let mut chain = self.chain.lock().await;
        self.refresh(&mut chain).await?;
        Ok(Arc::clone(&chain))
    }

    /// As [`refreshed`](Self::refreshed), up to the first manifest that does not fit.
    pub(crate) async fn sound_part(&self) -> Result<Arc<Chain>> {
        let mut chain = self.chain.lock().await;
        match self.refresh(&mut chain).await {
            Err(error) if error.kind() != ErrorKind::Corrupt => Err(error),
            _ => Ok(Arc::clone(&chain)),
        }
    }

    /// What is known of the releases of legal holds.
    pub(crate) fn told(&self) -> &Mutex<HashMap<String, Option<usize>>> {
        &self.told
    }

    async fn refresh(&self, chain: &mut Arc<Chain>) -> Result<()> {
        let after = chain.head().map(|head| manifest_key(head.number));
        let keys = self.keys(MANIFESTS, after).await?;
        let reads = keys.into_iter().map(|key| async move {
            let object = self.manifest(&key).await;
            (key, object)
        });
        let mut reads = stream::iter(reads).buffered(MANIFESTS_AT_ONCE);
        while let Some((key, object)) = reads.next().await {
            let object = object?.ok_or_else(|| {
                Error::corrupt(format_args!("manifest {key} is listed and not there"))
            })?;
            Arc::make_mut(chain).extend(&key, &object, &self.signer).map_err(unsound)?;
        }
        self.unreadable.store(chain.unreadable(), Ordering::Relaxed);
        Ok(())
    }

    /// The last archived number of a writer, by the manifests there are now.
    pub(crate) async fn high_water(&self, writer: &WriterId) -> Result<u64> {
        let mut chain = self.chain.lock().await;
        self.refresh(&mut chain).await?;
        Ok(chain.high_water(writer))
    }

    /// Segments that could not be read whole, as far as this process has seen the chain.
    pub(crate) fn unreadable(&self) -> u64 {
        self.unreadable.load(Ordering::Relaxed)
    }

    /// Adds a manifest this process has committed.
    pub(crate) async fn committed(&self, key: &str, object: &[u8]) -> Result<()> {
        let mut chain = self.chain.lock().await;
        // A query may have read it in the meantime.
        if number_in(key) == Some(chain.next()) {
            Arc::make_mut(&mut chain).extend(key, object, &self.signer).map_err(unsound)?;
            self.unreadable.store(chain.unreadable(), Ordering::Relaxed);
        }
        Ok(())
    }

    /// The tiles and the checkpoint.
    pub(crate) fn log(&self) -> Log<'_> {
        Log::new(&self.bucket)
    }

    /// The edge of the tree, as this process knows it.
    pub(crate) fn edge(&self) -> &Mutex<(u64, Tiling)> {
        &self.edge
    }

    /// Hands every manifest key in the bucket to `take`, in order, until it breaks off.
    pub(crate) async fn each_manifest_key(
        &self,
        take: impl FnMut(String) -> ControlFlow<()> + Send,
    ) -> Result<()> {
        self.each_key(MANIFESTS, None, take).await
    }

    /// Hands every key in the bucket where objects with entries stand to `take`, whoever put it
    /// there.
    pub(crate) async fn each_object_key(&self, mut take: impl FnMut(String) + Send) -> Result<()> {
        let take = |key| {
            take(key);
            ControlFlow::Continue(())
        };
        self.each_key(OBJECTS, None, take).await
    }

    /// The lines of an object nothing vouches for, `None` when there are none.
    pub(crate) async fn unpacked(&self, key: &str, announced: u64) -> Result<Option<Vec<u8>>> {
        Ok(match self.read_at_most(key, MAX_RAW_BYTES).await? {
            Read::Whole(content) => unpack(&content, announced),
            Read::Nothing | Read::TooLarge => None,
        })
    }

    pub(crate) async fn keys(&self, prefix: &str, after: Option<String>) -> Result<Vec<String>> {
        let mut keys = Vec::new();
        let take = |key| {
            keys.push(key);
            ControlFlow::Continue(())
        };
        self.each_key(prefix, after, take).await?;
        Ok(keys)
    }

    async fn each_key(
        &self,
        prefix: &str,
        mut after: Option<String>,
        mut take: impl FnMut(String) -> ControlFlow<()> + Send,
    ) -> Result<()> {
        loop {
            let page = self.bucket.list(prefix, after.as_deref(), PAGE).await;
            let page = page.map_err(storage("the bucket does not list the archive"))?;
            for object in page.objects {
                if take(object.key).is_break() {
                    return Ok(());
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// A manifest object, `None` when it is not there.
    pub(crate) async fn manifest(&self, key: &str) -> Result<Option<Bytes>> {
        Ok(match self.read_at_most(key, MAX_MANIFEST_BYTES).await? {
            Read::Whole(content) => Some(content),
            Read::Nothing => None,
            // No manifest is so large; nothing reads as none.
            Read::TooLarge => Some(Bytes::new()),
        })
    }

    pub(crate) async fn read(&self, key: &str) -> Result<Option<Bytes>> {
        match self.bucket.get(key).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == watchdog_storage::ErrorKind::NotFound => Ok(None),
            // Too large to be ours. It is not read; whoever looks at it finds that it is neither a
            // manifest nor a frame of zstd.
            Err(error) if error.kind() == watchdog_storage::ErrorKind::Precondition => {
                Ok(Some(Bytes::from_static(&[0])))
            }
            Err(error) => Err(storage("the bucket did not give an object of the archive")(error)),
        }
    }

    /// Writes an object whose name carries its hash, reads it back and compares.
    pub(crate) async fn write_object(&self, key: &str, content: Bytes) -> Result<()> {
        match self.bucket.put_verified(key, content.clone()).await {
            Ok(_) => Ok(()),
            // What stands under the name is not what the name says: a write that broke off.
            Err(error) if error.kind() == watchdog_storage::ErrorKind::Precondition => {
                let context = storage("an object of the archive was not written");
                self.bucket.put(key, content.clone()).await.map_err(context)?;
                match self.read(key).await? {
                    Some(stored) if stored == content => Ok(()),
                    _ => Err(Error::corrupt("the bucket does not hold what it acknowledged")),
                }
            }
            Err(error) => Err(storage("an object of the archive was not written")(error)),
        }
    }

    /// Creates an object that is never changed. Misuse when another stands under the name.
    pub(crate) async fn create(&self, key: &str, content: Bytes) -> Result<()> {
        match self.bucket.put_verified(key, content).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == watchdog_storage::ErrorKind::Precondition => {
                Err(Error::new(ErrorKind::Misuse, "another object has this name")
                    .with_source(error))
            }
            Err(error) => Err(storage("an object of the archive was not created")(error)),
        }
    }

    /// The bucket itself.
    pub(crate) fn bucket(&self) -> &Objects {
        &self.bucket
    }

    /// Commits a manifest: the one step that counts. Busy when another archiver was faster.
    pub(crate) async fn commit(&self, key: &str, content: Bytes) -> Result<()> {
        match self.bucket.put_verified(key, content).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == watchdog_storage::ErrorKind::Precondition => {
                let context = "another archiver has committed this manifest";
                Err(Error::new(ErrorKind::Busy, context).with_source(error))
            }
            Err(error) => Err(storage("a manifest was not written")(error)),
        }
    }

    /// The newest epoch in the bucket at or after `known`.
    pub(crate) async fn newest_epoch(&self, known: u64) -> Result<u64> {
        let after = known.checked_sub(1).map(epoch_key);
        let keys = self.keys(EPOCHS, after).await?;
        // Whatever else lies there is not an epoch.
        let epochs = keys
            .iter()
            .filter_map(|key| number_in(key).filter(|number| epoch_key(*number) == *key));
        Ok(epochs.max().unwrap_or(0).max(known))
    }

    /// Creates an epoch: the fencing token of one archiver. Busy when another was faster.
    pub(crate) async fn create_epoch(&self, number: u64, content: Bytes) -> Result<()> {
        let put = self.bucket.put_if_absent(&epoch_key(number), content).await;
        match put.map_err(storage("an epoch was not created"))? {
            Put::Created => Ok(()),
            Put::AlreadyExists => {
                Err(Error::new(ErrorKind::Busy, "another archiver has begun this epoch"))
            }
        }
    }

    /// Publishes the key new manifests are signed with.
    pub(crate) async fn publish_key(&self) -> Result<()> {
        let key = self.signer.public_key();
        let place = format!("{PREFIX}/keys/{}.json", key.id());
        let put = self.bucket.put_if_absent(&place, key.document().into()).await;
        put.map_err(storage("the public key was not published")).map(drop)
    }

    /// Whether the bucket refuses to overwrite on request.
    pub(crate) async fn is_create_only(&self) -> Result<bool> {
        self.bucket.probe_create_only().await.map_err(storage("the bucket was not probed"))
    }

    /// The lines of an archived object, checked against its hash.
    pub(crate) async fn lines(&self, object: &ArchivedObject) -> Result<Result<Vec<u8>, Fault>> {
        Ok(self.content(object).await?.and_then(|content| opened(object, &content)))
    }

    /// The bytes of an archived object as they are in the bucket.
    pub(crate) async fn content(&self, object: &ArchivedObject) -> Result<Result<Bytes, Fault>> {
        let fault = |kind, detail: &str| Err(Fault::new(kind, &object.key, detail));
        // Room for inserted lines, so that they can be named, and not for more.
        let limit = object.bytes.saturating_mul(2).saturating_add(MAX_ADDED_BYTES);
        Ok(match self.read_at_most(&object.key, limit.min(MAX_RAW_BYTES)).await? {
            Read::Whole(content) => Ok(content),
            Read::Nothing => fault(FaultKind::MissingObject, "it is not in the bucket"),
            Read::TooLarge => fault(FaultKind::AlteredObject, "it is much larger than it was"),
        })
    }

    async fn read_at_most(&self, key: &str, limit: u64) -> Result<Read> {
        use watchdog_storage::ErrorKind as Storage;
        match self.bucket.clone().with_max_size(limit).get(key).await {
            Ok(bytes) => Ok(Read::Whole(bytes)),
            Err(error) if error.kind() == Storage::NotFound => Ok(Read::Nothing),
            Err(error) if error.kind() == Storage::Precondition => Ok(Read::TooLarge),
            Err(error) => Err(storage("the bucket did not give an object of the archive")(error)),
        }
    }
}

/// What a read within a bound found.
enum Read {
    Whole(Bytes),
    Nothing,
    TooLarge,
}

/// The lines of an archived object, checked against its hash.
pub(crate) fn opened(object: &ArchivedObject, content: &[u8]) -> Result<Vec<u8>, Fault> {
    let sha256 = crate::hex::encode(&crate::merkle::sha256(&[content]));
    match unpack(content, object.raw_bytes) {
        Some(lines) if sha256 == object.sha256 => Ok(lines),
        Some(lines) => Err(crate::verify::difference(object, &lines)),
        None => Err(Fault::new(
            FaultKind::AlteredObject,
            &object.key,
            "its hash is another, and it does not unpack",
        )),
    }
}

/// Compresses lines, in one frame that carries their length and checksum.
pub(crate) fn pack(lines: &[u8]) -> Result<Vec<u8>> {
    let refused = |error| Error::new(ErrorKind::Misuse, "zstd refused").with_source(error);
    let mut compressor = zstd::bulk::Compressor::new(COMPRESSION_LEVEL).map_err(refused)?;
    compressor.include_checksum(true).map_err(refused)?;
    compressor.compress(lines).map_err(refused)
}

const COMPRESSION_LEVEL: i32 = 3;

/// Decompresses at most a little more than the announced length, whatever the content says.
fn unpack(content: &[u8], announced: u64) -> Option<Vec<u8>> {
    // Room for an inserted line, so that it can be named.
    let room = announced.min(MAX_RAW_BYTES) + MAX_LINE_BYTES as u64 * 16;
    zstd::bulk::decompress(content, usize::try_from(room).ok()?).ok()
}

fn unsound(fault: impl std::fmt::Display) -> Error {
    Error::corrupt(format_args!("the archive is not sound: {fault}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_by_number_and_tell_it() {
        assert!(manifest_key(9) < manifest_key(10));
        assert_eq!(number_in(&manifest_key(10)), Some(10));
        assert_eq!(number_in(&epoch_key(7)), Some(7));
        let segment = SegmentId { partition: 3, number: 9 };
        let key = object_key(Category::Access, "2026-01-01", segment, &"ab".repeat(32));
        let stem = "audit/v1/category=access/date=2026-01-01/p=00003/seg=00000000000000000009.";
        assert_eq!(segment_in(&key), Some((segment, stem)));
        assert_eq!(segment_in(&key.replace("seg=0", "seg=")), None);
        assert_eq!(segment_in(&key.replace("access", "other")), None);
        assert_eq!(
            object_key(
                Category::Security,
                "2026-01-01",
                SegmentId { partition: 3, number: 9 },
                &"ab".repeat(32)
            ),
            "audit/v1/category=security/date=2026-01-01/p=00003/\
             seg=00000000000000000009.abababababababab.jsonl.zst"
        );
    }

    #[test]
    fn a_small_object_cannot_unpack_to_much_more_than_announced() {
        let bomb = pack(&vec![b'x'; 40 * 1024 * 1024]).unwrap();
        assert!(bomb.len() < 10_000);
        assert!(unpack(&bomb, 1000).is_none());
        assert_eq!(unpack(&pack(b"line\n").unwrap(), 5).unwrap(), b"line\n");
    }
}
