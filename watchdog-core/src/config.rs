//! Typed configuration from `WATCHDOG_*` variables.

pub mod duration;
mod section;

pub use section::{Check, Environment, Origin, Section};
