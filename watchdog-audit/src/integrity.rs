//! What an attacker can and cannot do, and what makes it so.
//!
//! The archive is evidence as far as three things are apart: the store, the bucket and the signing
//! key. Each column of the table is somebody who can read and write one or more of them.
//!
//! | | has Redis | has the bucket | has both | has a host that archives |
//! |---|---|---|---|---|
//! | read personal fields | no, with encryption on | no, with encryption on | no, with encryption on | yes |
//! | read who did what to which resource, without names | yes, what waits and what has not expired | yes | yes | yes |
//! | forge, change or remove entries *before* they are archived | yes; a gap in a writer's sequence is named, a forged frame that goes on is not | no | yes | yes |
//! | change or remove one archived entry, or put one in | no: the archive is elsewhere | no: hash, root, tree and chain name it | no | no, as long as the manifest was ever seen elsewhere |
//! | delete an object before its retention is over | no | yes, and it is named | yes, and it is named | yes, and it is named |
//! | cut off the end of the archive, or set it back | no | no: the store has seen a later manifest, and the checkpoint states more | yes, unless a checkpoint is kept elsewhere | as both |
//! | write another history and sign it | no | no | no: the key is missing | from the manifest on that was last seen elsewhere |
//! | let a segment expire that is not archived | yes: `PEXPIRE`; the gap is named | no | yes | yes |
//! | make entries expire from the store too early | yes | no, the gate asks for a manifest that was read back | yes | yes |
//! | stop the archive | yes, loudly: a damaged segment is refused | yes, loudly | yes | yes |
//! | use a signing key that was replaced | no | no: the chain does not go back to it, and it releases no legal hold | cut the log off before the rotation and go on: named where the key of today or a checkpoint is asked for | as both |
//! | sign with a retired secret root that the log never used, or with the root when a key file signs | no | no | no, but begin another log: its first key is another | as both |
//!
//! *Named* means that [`AuditLog::verify`](crate::AuditLog::verify) says so and where.
//!
//! # Keep a checkpoint elsewhere
//!
//! Chain, tree and store agree with each other when all of them are set back together, to an older
//! copy or to nothing. So nothing inside can notice it. A [`Checkpoint`](crate::Checkpoint) of
//! under 300 bytes can: take it from [`Verification::checkpoint`](crate::Verification::checkpoint),
//! keep it where neither bucket nor store can be written from, and give it to
//! [`AuditLog::verify_since`](crate::AuditLog::verify_since) the next time. What was archived
//! before it was taken is then fixed also against somebody who has the signing key. It is a signed
//! note of C2SP: witnesses and monitors for transparency logs take it as it is.
//!
//! # What trust rests on
//!
//! A verifier brings up to three things from where nobody can reach who writes to bucket and store:
//!
//! - the first public key of the log
//!   ([`with_archive_trusting`](crate::AuditLogBuilder::with_archive_trusting)): each key vouches in
//!   the chain for the one after it. It needs no secret of the log: any root key does;
//! - the public key of today ([`VerifyOptions::with_key`](crate::VerifyOptions::with_key)): then
//!   whoever has stolen an earlier one cannot go on from before it was replaced;
//! - the last checkpoint ([`VerifyOptions::with_since`](crate::VerifyOptions::with_since)): then not
//!   even the key of today helps to rewrite what was archived before.
//!
//! And its own clock: an object that is gone is explained by the retention of its category at that
//! time. [`Verification::expired`](crate::Verification::expired) counts them.
//!
//! An archiver goes on only from a chain that holds the last manifest its store has seen and what
//! the checkpoint states; else it stops with an error that says what is to be brought back. So
//! nobody writes over the traces of a chain that was cut off.
//!
//! # Keys
//!
//! Each key vouches in the chain for the one after it ([`KeyRotation`](crate::KeyRotation)). The key
//! is derived from
//! the secret root, or comes from a file of its own (`WATCHDOG_AUDIT_SIGNING_KEY_FILE`), which
//! keeps those who have the secret root from signing. To rotate, put the new key first and keep the
//! old one: a previous secret root, or a second key in the file. The next manifest introduces it,
//! and from then on the old one signs nothing more. While processes are replaced one by one, roll
//! out the new key as a previous one first: a process that does not have it can verify, and cannot
//! archive. When the old key is lost the new one can take over, but only processes that have it as
//! their current key, and verifiers that are given its public key
//! ([`AuditLogBuilder::with_archive_trusting`](crate::AuditLogBuilder::with_archive_trusting))
//! accept what it signs.
//!
//! # What verification costs
//!
//! It reads every object, tile and bundle once, eight at a time, and holds of the chain no
//! manifest unless there are legal holds: in memory are the names of the objects (some 200 bytes
//! each), 8 bytes for each segment, 40 for each writer, and what eight objects hold.
//! [`AuditLog::verify_range`](crate::AuditLog::verify_range) reads the objects of a time only.
//!
//! # Where it ends
//!
//! - A host that is taken over signs what it is told. What it can no longer do is change what was
//!   archived before the last checkpoint that was kept elsewhere.
//! - With Redis, the end of what a process recorded before it ended can be taken away without a gap,
//!   as long as it is not archived.
//! - Until it is archived an entry is not signed: see `SEGMENT_MAX_AGE`.
//! - [`AuditLog::verify_range`](crate::AuditLog::verify_range) knows the legal holds that entries of
//!   its time tell of, and no others.
//! - Where a partition took entries before it had an archive, a writer may begin above 1, also later.
//! - A checkpoint in the bucket may be one manifest late, since a run may have broken off before
//!   it.
//! - An archiver that sleeps between its last look at the checkpoint and writing it, while another
//!   goes on for two manifests, sets it back: verification names it until the next run writes it
//!   again.
//! - Tiles of entries that have expired cannot be made again from objects. Who deletes them is
//!   named, and proofs of their neighbours are gone with them.
//! - When a run is killed between a manifest and its tiles and nobody archives until an object of
//!   that manifest has outlived its retention in the bucket, the tiles cannot be written and the
//!   archiver stops, loudly.
