//! The formats, precise enough to write another reader.
//!
//! Everything carries a version. A reader refuses a version it does not know.
//!
//! # Line
//!
//! One entry is one line of JSON in UTF-8 without a newline in it, at most 65 536 bytes. The bytes
//! of the line are made once, by the process that takes the entry; store, archive and hashes carry
//! them unchanged. It has no white space between its parts, the fields stand in the order of the
//! table, and a text is escaped only where JSON demands it; a reader may search the bytes of a line
//! before it reads it as JSON.
//!
//! | field | |
//! |---|---|
//! | `v` | 1 |
//! | `writer` | 32 hexadecimal digits: one run of one process |
//! | `seq` | number in the writer's sequence: 1, 2, 3, … without gaps |
//! | `recorded_at` | when the writer took it, RFC 3339 in UTC |
//! | `id` | UUID of the entry |
//! | `occurred_at` | RFC 3339 in UTC |
//! | `category` | `application`, `database`, `access`, `security` |
//! | `actor` | `{"type", "id"}`; without `id` when sealed |
//! | `action`, `resource` `{"type", "id"}`, `outcome` | `success`, `denied`, `failure`, `unknown` |
//! | `client` `{"ip", "user_agent"}`, `request_id`, `trace_id`, `details` (nested at most 32 levels deep) | when there are any |
//! | `sealed` | `{"subject", "key", "box"}` in place of actor id, client and details |
//!
//! `box` is base64 without padding of nonce (12 bytes), ciphertext and tag (16 bytes) of
//! AES-256-GCM over the JSON object `{"actor", "client"?, "details"?}`, with the associated data
//! `watchdog audit personal v1`, a zero byte, the 16 bytes of the writer, `seq` as 8 bytes big
//! endian, and the bytes of `key`. Its key is HKDF-Expand (RFC 5869, SHA-256, 32 bytes) of the
//! subject's data key with the information `watchdog audit box v1`, a zero byte, the 16 bytes of the
//! writer, and `seq` divided by 2^32 as 8 bytes big endian: nonces are random, and no key seals more
//! than 2^32 boxes (NIST SP 800-38D, section 8.3).
//!
//! `subject` is a pseudonym of the actor, the first 16 bytes of an HMAC-SHA-256 in hexadecimal:
//! equal actors have equal ones. `key` is the label of the data key: 28 hexadecimal digits when a
//! vault keeps it, the first 12 of them the milliseconds since 1970 it was made at; 8 digits, the id
//! of the root, when it is derived.
//!
//! # Frame
//!
//! One batch in the store; in Redis the field `d` of a stream entry. All numbers are big endian.
//!
//! | bytes | |
//! |---|---|
//! | 4 | `WDAF` |
//! | 1, 1 | version 1, codec 0 (lines as they are) or 1 (lines restored from an archive) |
//! | 2 | entries, 1 to 256 |
//! | 16 | writer |
//! | 8 | `seq` of the first entry |
//! | 8, 4 | earliest `recorded_at` in milliseconds since 1970, and by how many the latest is later |
//! | 4 | bytes of the payload |
//! | 16 | first half of SHA-256 over the 48 bytes before and the payload |
//! | … | payload: the lines, each ended by a newline |
//!
//! The lines of a restored frame are those of an object of the archive, in their order; `writer` is the
//! first 16 bytes of SHA-256 over `watchdog audit restore v1`, a zero byte, the 64 digits of the
//! object's SHA-256 and the number of the segment the restore began in as 8 bytes, and `seq` counts the object's lines from 1. Such frames are queried and never
//! archived.
//!
//! # Store
//!
//! For each writer the store keeps the last accepted number and the checksum of the frame that held
//! it, so that a replay is told from the frame of a copied machine. A partition has a fence, 0
//! until somebody archives; only while it is 0 a segment is sealed with a life, and `unarchived` is
//! the last such. The writer whose id is the first 16 bytes of SHA-256 over `watchdog audit restore
//! place v1`, a zero byte and the 64 digits of an object's SHA-256 has no entries: its number is that
//! of the segment the newest restore of the object began in.
//!
//! # Spool
//!
//! `<spool_directory>/spool/<writer>/` belongs to whoever holds the lock (`flock`) on its file `lock`;
//! the files `<number, 20 digits>.spool` hold records in the order of the writer's sequence: `WDSR`,
//! the bytes of the frame as 4 bytes big endian, the frame. What is no whole record is passed over
//! up to the next `WDSR` that begins one. A frame may stand in two files, when the first one failed.
//! The length of `lock` is how long its owner may make the file it has open.
//!
//! Two documents of JSON stand beside them: `store.json` `{"store", "partition"}` says for which
//! store and partition the entries are; `heir.json` `{"writer", "partition", "after", "declares",
//! "lost"?}` is there when they cannot go on under the id of their writer: the entries after `after`
//! are recorded again under this one, from number 1 on, or from 2 when the first declares what became
//! of those before.
//!
//! # Bucket
//!
//! | key | |
//! |---|---|
//! | `audit/v1/category=<c>/date=<recorded_at, UTC>/p=<partition>/seg=<segment>.<hash>.jsonl.zst` | the lines of one category and day of one segment, each ended by a newline, in one zstd frame; `hash` is the first 16 digits of the object's SHA-256 |
//! | `audit/v1/unreadable/p=<partition>/seg=<segment>.<hash>.frames.zst` | frames of one segment that could not be read, as the store had them, in one zstd frame: each its id as two numbers of 8 bytes (milliseconds, number), its length in 4 bytes, its bytes; all big endian |
//! | `audit/v1/manifest/<number, 20 digits>.jsonl` | a manifest; create-only |
//! | `audit/v1/epoch/<number, 20 digits>.json` | the fencing token of an archiver: `{"format": "watchdog-audit-epoch/v1", "number", "holder", "begun_at"}`; create-only |
//! | `audit/v1/log/tile/<level>/<number>[.p/<width>]` | a tile of the tree over all entries |
//! | `audit/v1/log/tile/entries/<number>[.p/<width>]` | a bundle of what stands in the tree for entries |
//! | `audit/v1/log/checkpoint` | the signed state of the tree; the one object that is replaced |
//! | `audit/v1/keys/<id>.json` | a public key that manifests were signed with: `{"format": "watchdog-audit-key/v1", "algorithm": "ed25519", "id", "public"}`, the key in base64; `id` is the first 16 digits of the SHA-256 of its 32 bytes. Nobody signs it: it tells, and proves nothing |
//! | `audit/v1/holds/<id>.json` | a legal hold; create-only |
//! | `audit/v1/holds/<id>.released.json` | its release; create-only |
//! | `audit/v1/erasing/<milliseconds, 20 digits>.<32 digits>` | a notice that a subject is being erased: whoever places a hold waits until it is removed or ten minutes old |
//!
//! # Legal hold
//!
//! Two lines of JSON, signed as a manifest is. The first of a hold: `format`
//! `watchdog-audit-hold/v1`, `id`, `category`?, `subject`?, `reason`, `placed_at`, `writer`, `key`;
//! the subject is `{"type", "id"}` or `{"type", "sealed", "handles"}`, where `sealed` is as in a
//! line of `writer` with the number 0, and `handles` are the pseudonyms its entries stood under. Of
//! a release: `format` `watchdog-audit-hold-release/v1`, `id`, `hold` (SHA-256 of the hold's
//! object), `released_at`, `key`.
//!
//! Any key of the log may have signed a hold, of today or of before. A release counts when the key
//! has signed it that signs the log now; of one that was replaced, when an archived entry
//! `audit.hold_released` with the resource `{"type": "audit_hold", "id"}` tells of it.
//!
//! A partition of the store keeps the name of the last change of the holds and the segments that
//! are held with the time of their last entry; the gate refuses whoever has not read that change.
//!
//! # Manifest
//!
//! Two lines of JSON, each ended by a newline. The second, `{"signature": "…"}` without white space,
//! is the Ed25519 signature (RFC 8032, base64 with padding) over the bytes of the first line with
//! its newline. A reader refuses fields it does not know and fields that stand twice. Hashes are 64
//! lower-case hexadecimal digits, instants RFC 3339 in UTC, numbers whole and below 2⁶⁴.
//!
//! | field | |
//! |---|---|
//! | `format` | `watchdog-audit-manifest/v1` |
//! | `number` | as in the key: 1, 2, 3, … |
//! | `previous` | SHA-256 of the whole object of the manifest before, both lines; empty in the first |
//! | `epoch`, `created_at` | the archiver's fencing token, and its clock |
//! | `segment` | `{"partition", "number"}` |
//! | `unarchived` | the last segment of the partition that was sealed while nobody archived, or 0 |
//! | `frames`, `repeated` | frames that were read; entries of them that are not covered here, but before |
//! | `entries` | how many entries it covers |
//! | `writers` | by writer (32 digits) `{"first", "last"}`: its numbers that are covered |
//! | `objects` | a list of objects, see below |
//! | `tree` | `{"size", "root"}` after this manifest |
//! | `key` | id of the key that signed it |
//! | `rotation` | `{"public", "proof"}`, when another key follows |
//!
//! An object: `key` as the table of the bucket has it, from the category, the one day of all its
//! `recorded_at`, the segment of the manifest and the hash; `category`; `entries`; `bytes` of the
//! object and `raw_bytes` of its lines with their newlines; `sha256` of the object; `root`;
//! `recorded` and `occurred`, each `{"from", "to"}`, the earliest and the latest of its lines; `zone`.
//!
//! `zone` of an object tells what it may hold: `outcomes` are those of its lines; `actors`, `actions`,
//! `resources` and `requests` are Bloom filters `{"positions", "bits"}`. A value is spelled as its
//! parts in UTF-8 with a zero byte between them: of an actor kind and id, or the `subject` of a
//! sealed one; of a resource its kind, and again kind and id; an action and a `request_id` by
//! themselves. Of the SHA-256 of the spelling, *a* is the first 8 bytes and *b* the next 8 with the
//! lowest bit set, both big endian. `bits` is base64 without padding of *m* bits, bit *n* being the
//! one of worth 2 to the power of *n* mod 8 in byte *n* / 8. The bits of a value are
//! ((*a* + *i* · *b*) mod 2⁶⁴) mod *m* for *i* from 0 below `positions`. A value with a bit that is
//! not set is not in the object; a filter of no bits has no value. For *n* distinct values a filter
//! has ⌈10 · *n* / 8⌉ bytes, at least 8 and at most 16 384, and ⌊⌊7 · *m* / 10⌋ / *n*⌋ positions,
//! at least 1 and at most 7. A reader may leave the zone aside.
//!
//! `root` of an object is the Merkle tree hash of RFC 6962, section 2.1, over its entries: the same
//! leaves and nodes as in the tree below.
//!
//! `tree` is the state of the tree below after this manifest. `rotation`, when it is there, is
//! `{"public", "proof"}`: the key that signs from the next manifest on, 32 bytes in base64, and its
//! Ed25519 signature (base64) over the lines `watchdog-audit key rotation v1`, id of the old key,
//! id of the new key, number of the manifest, `previous` of the manifest, each ended by a newline.
//!
//! `unreadable`, when it is there, is `{"entries", "missing", "objects": [{"key", "frames", "bytes",
//! "sha256"}]}`: frames of the segment that do not decode, or that leave a gap nothing explains, are
//! not archived as entries and stand in these objects instead; `missing` frames were counted and
//! gone; `entries` were counted in the segment and are not archived. Numbers may then be missing in
//! the ranges of `writers`, `entries` at most; and from there on a writer of the partition may once
//! begin its range later than it is due, by no more than all `entries` of the partition since the
//! manifest that names the writer last, this one included.
//!
//! # Tree
//!
//! One Merkle tree of RFC 6962, section 2.1, over all entries: manifest by manifest, in each object
//! by object as `objects` lists them, in each line by line. What stands in it for an entry is a
//! *commitment* of 34 bytes: `01`, the category (`application` `01`, `database` `02`, `access`
//! `03`, `security` `04`), SHA-256 of the line without its newline. Leaf = SHA-256(0x00 |
//! commitment), node = SHA-256(0x01 | left | right), the root of no entry is SHA-256 of nothing.
//!
//! Why not the line itself: an entry of `tlog-tiles` takes at most 65 535 bytes and a line may take
//! one more; bundles would hold every personal field a second time, outside of the retention of its
//! category; and an object can expire without a hole in the tree. A line holds a random id and,
//! where personal fields are sealed, a random nonce, so that nobody can guess it from its hash.
//!
//! Tiles are those of C2SP `tlog-tiles`: the tile `number` of `level` holds the roots of 256 full
//! subtrees of 256^level leaves each, 32 bytes each one after another; where the tree ends,
//! `.p/<width>` holds the `width` there are. Numbers are written in groups of three digits, all but
//! the last preceded by `x`: `x001/x234/067`. A bundle holds 256 commitments, each after its length
//! in two bytes, `00 22`. Tiles follow from the manifests alone: written after the manifest and
//! before the checkpoint, full ones first. Partial ones of earlier sizes stay; a reader needs only
//! those of the checkpoint.
//!
//! # Checkpoint
//!
//! A signed note of C2SP `tlog-checkpoint`: the lines origin, number of entries, root in base64; an
//! empty line; and `— <origin> <base64>` with the key id (4 bytes) and the Ed25519 signature (64
//! bytes) over the three lines with their newlines. The origin is `watchdog-audit/` and the id of
//! the key that signed manifest 1; it stays when keys rotate. The key id is the first 4 bytes of
//! SHA-256(origin | `0a` | `01` | public key). It is signed by the key that signs the next
//! manifest.
//!
//! The checkpoint of a manifest is written before the segment passes the gate and before the next
//! manifest is committed, so it states the tree of the last manifest or of the one before it.
//!
//! # Proof
//!
//! A `tlog-proof` of C2SP, version 1: the lines `c2sp.org/tlog-proof@v1`, `extra <line in base64>`,
//! `index <place from 0>`, the path from the leaf up (RFC 6962, section 2.1.1), a hash in base64 a
//! line; an empty line; the checkpoint. `docs/audit_proof.py` checks one in 60 lines.
//!
//! # Verifying
//!
//! A verifier checks for each manifest in order of number: signature under a key it has from
//! elsewhere for the first, then under the last key the chain has introduced (a key it has from
//! elsewhere, of today, may take over as well; one that was replaced may not come back), `previous`,
//! that `segment`, category, day and hash make the key of each object, that
//! `epoch` does not fall, that each writer goes on where the last manifest that names it ended (1
//! the first time, or above it where `unarchived` is not 0: the partition took entries before it
//! had an archive; or later as far as something was `unreadable`), that `unarchived` of a partition
//! never changes, that every object has the
//! stated `sha256`, sizes, `entries`, `root`, times and `zone`, that the `seq` of its lines are exactly the stated
//! ranges, and that the tree with its lines added has the stated size and root. An object that is
//! gone after the retention of its category has expired, counted from the end of `recorded` by the
//! verifier's clock; the `seq` of the others are then within the ranges, each once, and the bundles
//! say what stands in the tree for its entries, of its category. An object
//! below `audit/v1/category=` that no manifest names is one of a segment that is not archived yet,
//! or has the lines of a named object of the same segment, category and day, or has only lines that
//! stand in named objects of its category and day (the store was emptied, and numbered its segments
//! anew): a run of the archiver broke off there. The checkpoint must be signed by a key of the chain and state the tree of the
//! last manifest or of the one before; the tiles and bundles of its size must be those of the tree.
//! Each `unreadable` is a fault of its own, and its objects have the stated `sha256`.
//! A checkpoint that was kept elsewhere must state the tree of some manifest. Where the key is known
//! that signs now, it must be the last of the chain and have signed the last manifest or the
//! checkpoint: a rotation alone can be repeated by whoever has the key before. Where a store is at
//! hand, the chain must hold the last manifest each partition has seen. Every hold that an entry
//! `audit.hold_placed` tells of must be there, and every hold be signed by a key of the log.
