//! A lifecycle rule, as far as this crate understands it.

/// One lifecycle rule of a bucket.
///
/// What a rule that was read holds beyond this (conditions on tags and sizes, transitions of old
/// versions) is kept and written back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifecycleRule {
    pub(super) id: String,
    pub(super) prefix: String,
    pub(super) is_enabled: bool,
    pub(super) is_narrowed: bool,
    pub(super) expiration: Option<Expiration>,
    pub(super) transitions: Vec<Transition>,
    pub(super) noncurrent_days: Option<u32>,
    pub(super) abort_multipart_days: Option<u32>,
    /// The rule as it was read, word by word.
    pub(super) written: Option<String>,
}

/// When the newest version of an object goes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expiration {
    /// So many days after it was written.
    Days(u32),
    /// At a date, as the store writes it.
    Date(String),
    /// Only marks of deletion with nothing behind them go.
    DeleteMarkers,
}

/// When an object moves to another storage class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// So many days after it was written; `None` for a date.
    pub days: Option<u32>,
    /// The class: `GLACIER`.
    pub class: String,
}

impl LifecycleRule {
    /// A rule over every object whose key begins with `prefix`; it does nothing yet.
    pub fn new(id: impl Into<String>, prefix: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            prefix: prefix.into(),
            is_enabled: true,
            is_narrowed: false,
            expiration: None,
            transitions: Vec::new(),
            noncurrent_days: None,
            abort_multipart_days: None,
            written: None,
        }
    }

    /// Objects go this many days after they were written; where versions are kept, they become old
    /// ones.
    #[must_use]
    pub fn with_expiration_days(mut self, days: u32) -> Self {
        self.expiration = Some(Expiration::Days(days));
        self.written = None;
        self
    }

    /// Objects move to a storage class this many days after they were written.
    #[must_use]
    pub fn with_transition(mut self, days: u32, class: impl Into<String>) -> Self {
        self.transitions.push(Transition { days: Some(days), class: class.into() });
        self.written = None;
        self
    }

    /// Old versions go this many days after they were replaced or deleted.
    #[must_use]
    pub fn with_noncurrent_days(mut self, days: u32) -> Self {
        self.noncurrent_days = Some(days);
        self.written = None;
        self
    }

    /// Uploads in parts that were never completed go this many days after they were begun.
    #[must_use]
    pub fn with_abort_multipart_days(mut self, days: u32) -> Self {
        self.abort_multipart_days = Some(days);
        self.written = None;
        self
    }

    /// The name of the rule; empty when the store has given it none.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What the keys of its objects begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether the rule is in force.
    pub fn is_enabled(&self) -> bool {
        self.is_enabled
    }

    /// Whether the rule applies to some objects of the prefix only, by tag or size.
    pub fn is_narrowed(&self) -> bool {
        self.is_narrowed
    }

    /// When objects go.
    pub fn expiration(&self) -> Option<&Expiration> {
        self.expiration.as_ref()
    }

    /// When objects move.
    pub fn transitions(&self) -> &[Transition] {
        &self.transitions
    }

    /// How many days after they were replaced or deleted old versions go.
    pub fn noncurrent_days(&self) -> Option<u32> {
        self.noncurrent_days
    }

    /// How many days after they were begun incomplete uploads go.
    pub fn abort_multipart_days(&self) -> Option<u32> {
        self.abort_multipart_days
    }

    /// Whether both say the same, however they are written.
    pub fn is_same(&self, other: &Self) -> bool {
        let bare = |rule: &Self| Self { written: None, ..rule.clone() };
        bare(self) == bare(other)
    }
}
