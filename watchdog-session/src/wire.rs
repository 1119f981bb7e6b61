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
//! | `wd:d:{b}:user:session` | hash | the attributes of one session | to its absolute deadline + 60 s, and no longer than the session |
//! | `wd:ev:{b}` | stream | events on their way to the audit log | each until it is acknowledged |
//! | `wd:ed:{b}` | string | how many events found no room in the stream | until an event tells it |
//! | `wd:rv:{b}` | sorted set | marks of revocation | an hour after the last one |
//! | `wd:g:{b}` | string | stamp: sessions of everybody created up to then are revoked | ten years of 365 days (the longest absolute lifetime there is) + 60 s, never shortened |
//! | `wd:gn:{b}` | string | mark of the call that set the stamp | 60 s |
//!
//! All keys of one call share the tag `{b}`. Scripts are given the hash, the stream and the stamp;
//! they derive the others from the hash.
//!
//! Fields of the hash: `s:` and the session id in 32 hexadecimal digits → record; `e` → not-before
//! stamp: sessions created up to then are revoked; `r` → latest creation time of any session
//! revoked so far: a login up to then is not stored; `x:` and a session id → creation time of an
//! evicted session, the newest 256: a repeat of its login, up to 10 s late, stores nothing (the
//! creation time of a mark beyond them goes into `r`); `a` → mark (8) of the
//! last call that revoked all sessions or all but one. Stamps are milliseconds in decimal.
//!
//! Fields of the attributes: `v` → version of the whole, in decimal; `a:` and the name → version
//! (8) that set it, then the sealed value; `n` → the latest updates, at most 64 of the last 60 s:
//! mark (8) | time in ms (8) | version (8), each. The value is JSON under AES-256-GCM with the key
//! *session/attribute/v1* and `bucket (2) | locator (16) | session id (16) | name` as associated
//! data; the session id is the first of those that this session succeeds by regeneration.
//!
//! A mark of revocation is a member `user:session` (both in hexadecimal), or `user:*:stamp` for all
//! that was issued to the user up to a stamp in ms, beside which a session that was created or seen
//! later than that has a mark of its own; its score is the server's time of the
//! revocation in ms. Each write removes those older than an hour, which no access token outlives.
//! Expiry writes none.
//!
//! A process goes by a stamp `wd:g` that it has read for at most a second; it is read along with
//! the next record then. Revoking everybody sets each stamp 100 ms ahead, which is how far in the
//! future a session may be created, and answers a second later.
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
//! Times are milliseconds of the store's clock. A refresh carries along when it was made, by the
//! process' idea of that clock; the script believes up to 10 s, within which it is served from the
//! grace period that it was made in, and made before the last rotation it is `late` instead of
//! `reuse`. The first 36 bytes are the same in every version.
//! Flag 1: the last step was a repair. Flags 2 and 4: the last rotation came over IPv4, over IPv6.
//! The three client fields are `HMAC(K, label | 0 | value)` cut to 16 bytes, with `K` the key of the
//! chain and the labels `ip`, `agent`, `grace`; with a binding to the network `network` instead of
//! `ip`, with one to the whole user agent `exact agent` instead of `agent`, and `no agent` over
//! nothing when there is none.
//!
//! The sealed part is AES-256-GCM under *session/record/v1* with `1 | bucket (2) | locator (16) |
//! session id (16)` as associated data, over a JSON object: `u` user, `r` roles, `i` address, `a`
//! user agent, `c` creation time, `d` absolute deadline, `t` idle timeout, and where there is one
//! `t0` time of the last authentication (else `c`), `l` device label, `q` level of the
//! authentication, `o` first of the sessions that this one succeeds. `c`, `d` and `t` must equal those of
//! the header. The release before ignores what it does not know.
//!
//! What somebody can do who can write to Redis: end any session; move `last seen` on, so that an
//! idle session lives to its absolute deadline; put back an older copy of a record in its own
//! place, which undoes rotations, or revives a session that ended, until the absolute deadline; remove a stamp or a
//! mark; put back an older value of an attribute of the same session and name, or remove one. They
//! cannot let a session live beyond its absolute deadline, move a session or an attribute to another user, session or name, change
//! a role, or make a token.
//!
//! # Events
//!
//! `wd:ev:{b}` is a stream, `wd:ed:{b}` a number in decimal. Fields of an entry: `v` = 1, `action`,
//! `at` (ms), `session`, `user` (locator), `seed` (16), `index`, `sealed` (the sealed part of the
//! record, empty without one), `client` (JSON sealed under *session/event/v1* with the seed as
//! associated data: `ip`, `user_agent`, and `by` with `type` and `id` when somebody else than the
//! user of the session made the call), and details as `d:name`.
//!
//! The id of the audit entry is a UUID of version 7: the first 6 bytes of the seed, which the caller
//! made as one, then `SHA-256(seed | index (4) | action)`, with the marks of version 7.
//!
//! | `action` | audit entry | its actor | details |
//! |---|---|---|---|
//! | `issued` | `session.issued` | user | |
//! | `rotated` | `session.rotated` | user | `presented`, `generation`, `age` |
//! | `kept` | `session.refreshed` | user | as above |
//! | `grace` | `session.grace_used` | user | as above |
//! | `repaired` | `session.repaired` | user | as above |
//! | `reuse` | `session.refresh_token_reused`, denied | service | as above |
//! | `regenerated` | `session.regenerated` | user | `successor` |
//! | `revoked` | `session.revoked` | whom the caller names; if nobody, the user for the reasons `logout` and `user`, else service; always service for `binding_mismatch` | `reason` |
//! | `everybody_revoked` | `session.everybody_revoked` on `*` | whom the caller names, else service | `reason` |
//! | `expired` | `session.expired` | service | |
//! | `evicted` | `session.evicted` | service | |
//! | `binding_mismatch` | `session.binding_mismatch`, denied unless `action` is `log` | service | `action` |
//! | `events_dropped` | `session.events_dropped` on the bucket, failure | service | `count` |
//!
//! *User* is the user of the session, *service* is `watchdog-session`. When the actor is not the
//! user, the detail `owner` names the user. Somebody whom the caller names takes the place of the
//! user as actor, and that of the service where the table says so.
//!
//! **Delivery.** The consumer group `audit` of the stream is made with the first claim. A process
//! claims under a random name of its own: what it holds already, what another has held for 30 s,
//! then new entries. It gives them to the sink and acknowledges them, which removes them from the
//! stream, and the stream when it is empty. What a process cannot deliver (of a newer version, or
//! refused by the sink) it hands to the consumer `aside`, from where whoever comes first takes it
//! after 30 s. So the sink gets every entry at least once, and twice when a process dies, or takes
//! longer than 30 s, between the sink and the acknowledgement; the id is the same.
//!
//! **Room.** A bucket holds 4096 entries; `revoked`, `reuse`, `evicted`, `repaired` and
//! `everybody_revoked` are written up to 8192. What finds no room is counted in `wd:ed:{b}`, and the
//! session goes on. The first claim that finds fewer than 4096 entries turns the count into an entry
//! `events_dropped`.
//!
//! # Scripts
//!
//! `session.create.v2`, `session.touch.v2`, `session.rotate.v2`, `session.revoke.v2`,
//! `session.regenerate.v2`, `session.revoke_all.v2`, `session.revoke_everybody.v2`,
//! `session.update.v2`, `session.report.v2`, `session.time.v2`. Keys: the hash, the stream, the
//! stamp of everybody. `session.claim.v1`, `session.acknowledge.v1`, `session.postpone.v1`. Keys: the
//! stream, for a claim also the count of dropped events. All but `create`, `update` and `report` carry the flag `allow-oom` (Redis
//! 7.0): a full server refuses logins and attributes, and ends sessions. A change of arguments or
//! answers is a new version.
//!
//! # Two releases at once
//!
//! Records of version 1 are read and written by the release with the scripts `*.v1` too. While it
//! runs beside this one: it does not know `wd:g`, so revoke everybody again when its last process
//! has gone; what it ends leaves no mark of revocation, and attributes that their time to live
//! removes; a rotation by it keeps the address family noted before.
