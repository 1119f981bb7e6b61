//! Records in the words of others: OCSF and CloudEvents. What is stored stays as it is.
//!
//! Both are values of JSON, to be written as one line each:
//!
//! ```
//! # fn send(_: &str) {}
//! # fn export(records: &[watchdog_audit::Record]) -> watchdog_audit::Result<()> {
//! for record in records {
//!     send(&watchdog_audit::mapping::to_ocsf(record).to_string());
//!     send(&watchdog_audit::mapping::to_cloudevent(record, "/notes/audit")?.to_string());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # OCSF
//!
//! Events say that they are of version 1.1.0 of the [Open Cybersecurity Schema
//! Framework](https://schema.ocsf.io) and are valid in every later 1.x up to 1.8 as well. The class
//! follows from the action:
//!
//! | entry | class | `class_uid` |
//! |---|---|---|
//! | `auth.…`, `session.…` | Authentication | 3002 |
//! | `account.…`, `user.…` on a resource `account` or `user` | Account Change | 3001 |
//! | category `database` on a resource `table`, `database` or `bucket` | Datastore Activity | 6005 |
//! | any other | API Activity | 6003 |
//!
//! The activity follows from the last word of the action that is known: `file.written` is an update.
//! `metadata.uid` is the id of the entry, by which copies are recognised; what has no place in the
//! class is in `unmapped`, the details of the entry among it.
//!
//! # CloudEvents
//!
//! Version 1.0, structured JSON. `id` is the id of the entry, `type` is `watchdog.audit.v1.` and the
//! action, `subject` the resource, `time` when it happened, `data` the rest. The extensions
//! `sequence` and `partitionkey` hold the number and the writer, `recordedtime` when the log took it.

mod activity;
mod cloudevents;
mod ocsf;

pub use cloudevents::to_cloudevent;
pub use ocsf::to_ocsf;
