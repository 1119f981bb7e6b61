//! What a section of the configuration is.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::check::Check;

/// A section of the configuration: one struct, owned by the crate that uses it.
///
/// The loader walks the JSON Schema of the struct. The variable of a field is
/// [`Section::PREFIX`], an underscore and the field's path in upper case: `pool_size` in a section
/// with the prefix `WATCHDOG_DB` is `WATCHDOG_DB_POOL_SIZE`. Nothing ever splits a variable name.
/// A nested struct adds its field's name; `#[schemars(extend("x-env" = "WATCHDOG_S3"))]` on a
/// field replaces the whole name, of a nested struct's fields the prefix.
///
/// ```
/// use schemars::JsonSchema;
/// use serde::{Deserialize, Serialize};
/// use watchdog_core::config::{Check, Loader, Section};
///
/// /// The shop.
/// #[derive(Debug, Serialize, Deserialize, JsonSchema)]
/// #[serde(default)]
/// struct Shop {
///     /// Most items of one order.
///     #[schemars(range(min = 1, max = 100))]
///     max_items: u32,
/// }
///
/// impl Default for Shop {
///     fn default() -> Self {
///         Self { max_items: 10 }
///     }
/// }
///
/// impl Section for Shop {
///     const NAME: &'static str = "shop";
///     const PREFIX: &'static str = "SHOP";
/// }
///
/// let shop = Loader::from_vars([("SHOP_MAX_ITEMS", "20")]).load::<Shop>()?;
/// assert_eq!(shop.max_items, 20);
/// # Ok::<(), watchdog_core::config::ConfigError>(())
/// ```
///
/// # Types of fields
///
/// | field | text of the variable |
/// |---|---|
/// | `bool` | `true`, `false` (also `yes`, `no`, `on`, `off`, `1`, `0`) |
/// | integers | decimal, within `#[schemars(range(...))]` and the type |
/// | `f32`, `f64` | `0.80`, within the range |
/// | `String`, `PathBuf` | as it stands; white space around it is refused |
/// | an enum without data | the name serde gives the variant, in either case |
/// | `Duration` with [`duration`](super::duration) | `1800`, `30s`, `1h30min` |
/// | [`Period`](super::Period) | `2years`, `90days` |
/// | [`ByteSize`](super::ByteSize) | `8MiB` |
/// | [`Rate`](super::Rate) | `100/min` |
/// | `String` with `extend("format" = "uri")` | a URL with its scheme |
/// | `String` with `extend("format" = "host-or-url")` | `host`, `host:port` or a URL |
/// | `Secret<String>` | taken unchanged; also from the file that `NAME_FILE` names |
/// | `Vec<Secret<String>>` | one on each line, or a JSON array of strings; also `NAME_FILE` |
/// | `Vec` of a scalar | with commas; white space around an item does not count, an empty item is refused |
/// | `Option` of any | the same; unset is `None` |
/// | anything else | JSON |
///
/// Give the struct `#[serde(default)]` and a `Default`: the default then stands in the generated
/// reference. A field without a default is required.
pub trait Section: DeserializeOwned + JsonSchema + Send + Sync + 'static {
    /// Name of the section, and of its table in the TOML file.
    const NAME: &'static str;

    /// What the section's variables begin with: `WATCHDOG_DB`.
    const PREFIX: &'static str;

    /// Rules across fields, and what production refuses.
    ///
    /// Runs even when a value of the section is malformed or missing, so that one load shows every
    /// problem: such a field holds its default or a stand-in then, and a problem that names it is
    /// dropped, because the first problem is the cause.
    fn check(&self, _check: &mut Check<'_>) {}
}

/// Where a service runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// Real users: everything unsafe is refused.
    Production,
    /// A rehearsal of production, under the same rules.
    Staging,
    /// A developer's machine: safe defaults, nothing refused.
    #[default]
    Development,
}

impl Environment {
    pub(super) const ALL: [Self; 3] = [Self::Production, Self::Staging, Self::Development];

    /// The name used in the variable `WATCHDOG_ENV`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Staging => "staging",
            Self::Development => "development",
        }
    }

    /// Whether what is unsafe is refused: in production and in staging.
    pub const fn is_strict(self) -> bool {
        !matches!(self, Self::Development)
    }
}
