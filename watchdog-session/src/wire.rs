//! The formats on the wire and in the store, for operators and for those who write another
//! implementation. This module holds text only.
//!
//! Integers are big endian. `|` joins, a number in parentheses is a length in bytes.
//!
//! # Keys of Redis
//!
//! With the prefix `wd`; `b` is the bucket in decimal, `user` the locator in 32 hexadecimal digits.
//!
//! | key | type | holds | lives |
//! |---|---|---|---|
//! | `wd:u:{b}:user` | hash | all sessions of one user | to the latest absolute deadline + 60 s |
//! | `wd:ev:{b}` | stream | events on their way to the audit log | each until it is acknowledged |
//!
//! Fields of the hash: `s:` and the session id in 32 hexadecimal digits → record; `e` → not-before
//! stamp: sessions created up to then are revoked; `r` → latest creation time of any single session
//! revoked so far: a login up to then is not stored; `x:` and a session id → creation time of an evicted session: a
//! repeat of its login, up to 10 s late, stores nothing. All three are milliseconds in decimal.
//!
//! `HMAC-SHA-256(K, user id)` under the key *session/location/v1* gives the locator (bytes 0 to 15)
//! and the bucket (bytes 16 and 17, modulo 1024).
//!
//! # Session token, version 1
//!
//! base64url without padding, 95 characters, of
//!
//! ```text
//! version = 1 (1) | key id (4) | bucket (2) | locator (16) | session id (16) | secret (16) | tag (16)
//! ```
//!
//! The tag is HMAC-SHA-256 of everything before it under the key *session/token/v1* with that id,
//! cut to 16 bytes.
//!
//! # Refresh token, version 1
//!
//! base64url without padding, 122 characters, of
//!
//! ```text
//! version = 1 (1) | key id (4) | bucket (2) | locator (16) | session id (16) | generation (4) | V (32) | tag (16)
//! ```
//!
//! The tag is `HMAC(K, "tag" | 0 | everything before)`, cut to 16 bytes. The first `V` is random;
//! `V(g+1) = HMAC(K, "next" | 0 | V(g) | session id | g+1 (4))`. `K` is the key *session/refresh/v1*
//! with that id. A session keeps the id of its chain for life.
//!
//! # Access token
//!
//! A JWT (RFC 7519) as RFC 9068 has it, compact, at most 8192 bytes. Header exactly `alg`, `typ:
//! at+jwt`, `kid`; any other member is refused, and so is one that stands twice.
//!
//! | signed with | `alg` | `kid` |
//! |---|---|---|
//! | Ed25519, when `WATCHDOG_SESSION_ACCESS_TOKEN_KEY` is set | `EdDSA` (RFC 8037) | RFC 7638 thumbprint of the public key, SHA-256, base64url |
//! | HMAC-SHA-256 else, under *session/access/v1* of the secret for JWTs | `HS256` | key id in 8 hexadecimal digits |
//!
//! | claim | holds |
//! |---|---|
//! | `iss`, `aud`, `sub` | issuer, one audience as text, user |
//! | `sid`, `loc` | session id; `bucket.locator`, the bucket in decimal and the locator in 32 hexadecimal digits |
//! | `roles` | list of texts |
//! | `iat`, `nbf`, `exp`, `auth_time` | whole seconds; `exp` at most an hour after `iat` |
//! | `iat_ms` | `iat` in milliseconds, to be held against not-before stamps |
//! | `jti` | 32 hexadecimal digits |
//! | `acr` | how strongly the user proved who they are; may be absent |
//!
//! A reader passes over other claims, refuses a name that stands twice, and does without `loc`,
//! which the first release did not write. Public keys are published as a JWK set (RFC 7517):
//! `kty: OKP`, `crv: Ed25519`, `use: sig`, `alg: EdDSA`, `kid`, `x`.
//!
//! # Record, version 1
//!
//! ```text
//! 0   version = 1 (1) | flags (1) | header length = 202 (2)
//! 4   created at (8) | absolute deadline (8) | last seen (8) | idle timeout (8)
//! 36  grace used (2) | generation (4) | rotated at (8) | nonce (8)
//! 58  SHA-256 of the secret (32) | of V(g) (32) | of V(g-1) (32)
//! 154 origin address (16) | origin agent (16) | rotated by (16)
//! 202 sealed part
//! ```
//!
//! Times are milliseconds of the store's clock. The first 36 bytes are the same in every version.
//! Flag 1: the last step was a repair. The three client fields are `HMAC(K, label | 0 | value)` cut
//! to 16 bytes, with `K` the key of the chain and the labels `ip`, `agent`, `grace`.
//!
//! The sealed part is AES-256-GCM under *session/record/v1* with `1 | bucket (2) | locator (16) |
//! session id (16)` as associated data, over a JSON object: `u` user, `r` roles, `i` address, `a`
//! user agent, `c` creation time, `d` absolute deadline, `t` idle timeout. The last three must equal
//! those of the header.
//!
//! What somebody can do who can write to Redis: end any session; move `last seen` on, so that an
//! idle session lives to its absolute deadline; put back an older copy of a record in its own
//! place, which undoes rotations or a revocation until the absolute deadline. They cannot lengthen
//! a life, move a session to another user, change a role, or make a token.
//!
//! # Events
//!
//! Fields of an entry: `v` = 1, `action`, `at` (ms), `session`, `user` (locator), `seed` (16),
//! `index`, `sealed` (the sealed part of the record), `client` (sealed under *session/event/v1* with
//! the seed as associated data), and details as `d:name`. The id of the audit entry is a UUID of
//! version 7: the first 6 bytes of the seed, which the caller made as one, then
//! `SHA-256(seed | index (4) | action)`, with the marks of version 7.
//!
//! # Scripts
//!
//! `session.create.v1`, `session.touch.v1`, `session.rotate.v1`, `session.revoke.v1`,
//! `session.time.v1`. Keys: the hash, the stream. All but the
//! first carry the flag `allow-oom` (Redis 7.0): a full server refuses logins and ends sessions. A change of arguments or answers is a new version.
