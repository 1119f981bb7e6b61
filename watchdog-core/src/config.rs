//! Typed configuration from variables, checked as a whole before anything starts.
//!
//! A [`Section`] is a struct; the [`Loader`] walks its JSON Schema and so knows which variable sets
//! which field, of what type, with which default. One load takes any set of sections and gives
//! [`Loaded`], or a [`ConfigError`] with every [`Problem`].
//!
//! # Sources
//!
//! Lowest precedence first:
//!
//! 1. built-in defaults;
//! 2. a TOML file with one table for each section: [`Loader::with_file`], or `WATCHDOG_CONFIG_FILE`
//!    in the process environment;
//! 3. `.env` in the current directory, or [`Loader::with_dotenv`]; read in development only, and
//!    never put into the process environment;
//! 4. a [`SecretSource`](crate::SecretSource), with [`Loader::load_with`];
//! 5. the process environment, read once.
//!
//! An empty variable is unset. The source that wins is judged; a malformed value below it is not
//! looked at. For a secret, `NAME_FILE` names a file that holds it; both in one source are an error.
//! In the TOML file the same key is `name_file`.
//!
//! # What is refused
//!
//! Missing, malformed, out-of-range, contradictory and unknown values, unresolved placeholders
//! (`${NAME}`, `$(NAME)`, `{{ name }}`, a whole `<value>`), unreadable files, values that are not
//! UTF-8, and in production and staging whatever the sections' own rules call unsafe.

mod app;
mod assembly;
mod check;
mod development_keys;
mod dotenv;
pub mod duration;
mod family;
mod forecast;
mod judge;
mod kind;
mod layers;
mod loaded;
mod loader;
mod log_level;
mod nova;
mod origin;
mod period;
mod placeholder;
mod problem;
mod quantity;
mod rate;
pub mod reference;
mod schema;
mod secret_file;
mod section;
mod sections;
mod security;
mod service_link;
mod size;
mod sources;
mod suggest;
mod unknown;
#[cfg(test)]
mod walk_tests;

pub use app::AppConfig;
pub use check::Check;
pub use forecast::ForecastConfig;
pub use loaded::{Loaded, Warning};
pub use loader::Loader;
pub use log_level::LogLevel;
pub use nova::NovaConfig;
pub use origin::Origin;
pub use period::Period;
pub use problem::{ConfigError, Problem, ProblemKind};
pub use rate::Rate;
pub use section::{Environment, Section};
pub use sections::Sections;
pub use security::SecurityConfig;
pub use size::ByteSize;
