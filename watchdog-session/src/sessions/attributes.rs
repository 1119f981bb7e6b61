use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::time::Instant;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use watchdog_core::{CipherKeys, RootKeys};

use super::bulk::nonce;
use super::regenerate::step_up_required;
use super::{Inner, Sessions, gone};
use crate::error::{Error, ErrorKind, Result};
use crate::place::{Place, SessionId};
use crate::record::{Header, Identity, sealed_part};
use crate::session::Session;
use crate::store::{
    Change, MAX_ATTRIBUTE_BYTES, MAX_ATTRIBUTE_NAME_BYTES, MAX_ATTRIBUTES, StoredAttribute, Update,
    UpdateOutcome,
};
use crate::telemetry;

/// Most tries of [`Sessions::update`] before it gives up.
const ATTEMPTS: u32 = 32;

/// What an application keeps in a session, as of one moment.
#[derive(Clone, Default, PartialEq)]
pub struct Attributes {
    version: u64,
    values: BTreeMap<String, Value>,
}

impl Attributes {
    /// The value of an attribute, `None` when there is none.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misuse`] when the value is of another type.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        self.values.get(name).map(typed).transpose()
    }

    /// The version of the whole, for [`Sessions::replace`]; 0 before the first change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

/// Names only: the values are the application's.
impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attributes")
            .field("version", &self.version)
            .field("names", &self.values.keys())
            .finish_non_exhaustive()
    }
}

/// Changes of attributes that are made together or not at all.
#[derive(Clone, Default)]
#[must_use]
pub struct Changes(BTreeMap<String, Option<Vec<u8>>>);

impl Changes {
    /// No changes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets an attribute.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misuse`] when the value has no form in JSON, or is too large.
    pub fn insert<T: Serialize + ?Sized>(
        mut self,
        name: impl Into<String>,
        value: &T,
    ) -> Result<Self> {
        self.0.insert(name.into(), Some(json(value)?));
        Ok(self)
    }

    /// Removes an attribute.
    pub fn remove(mut self, name: impl Into<String>) -> Self {
        self.0.insert(name.into(), None);
        self
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes").field("names", &self.0.keys()).finish_non_exhaustive()
    }
}

/// All of it commits when it is called; nothing waits for the end of a request. A session that has
/// ended refuses each change with [`ErrorKind::Gone`] or [`ErrorKind::Expired`]: none brings it back. A session
/// recognised by an access token costs one round trip more.
impl Sessions {
    /// All attributes of a session. One round trip, which reads no record: of a session that has
    /// ended meanwhile this gives what is left, nothing once it was removed, and is no check that
    /// it lives. With an access token the record is read first.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Gone`] when a session recognised by an access token has ended,
    /// [`ErrorKind::Invalid`] when a value was altered in the store, [`ErrorKind::Unavailable`]
    /// when the store does not answer.
    pub async fn attributes(&self, session: &Session) -> Result<Attributes> {
        let started = Instant::now();
        let result = self.inner.attributes_of(session).await;
        telemetry::operation("attributes", started, &result);
        result
    }

    /// Sets one attribute, whatever it was, and leaves the others alone. The answer is the version
    /// of the whole. One round trip.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misuse`] for a name or value out of bounds, or one attribute too many
    /// ([`MAX_ATTRIBUTES`]); [`ErrorKind::Gone`] and [`ErrorKind::Expired`] when the session has
    /// ended; [`ErrorKind::Unavailable`] when the store does not answer.
    pub async fn insert<T: Serialize + ?Sized>(
        &self,
        session: &Session,
        name: &str,
        value: &T,
    ) -> Result<u64> {
        let changes = Changes::new().insert(name, value)?;
        self.change(session, None, false, changes).await
    }

    /// Removes one attribute, if there is one. One round trip.
    ///
    /// # Errors
    ///
    /// As [`Sessions::insert`].
    pub async fn remove(&self, session: &Session, name: &str) -> Result<u64> {
        self.change(session, None, false, Changes::new().remove(name)).await
    }

    /// Removes all attributes. The session lives on. One round trip.
    ///
    /// # Errors
    ///
    /// As [`Sessions::insert`].
    pub async fn clear(&self, session: &Session) -> Result<u64> {
        self.change(session, None, true, Changes::new()).await
    }

    /// Makes some changes together, provided that nobody has changed any attribute since the
    /// version `expected`. One round trip.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Conflict`] when somebody has; else as [`Sessions::insert`].
    pub async fn replace(&self, session: &Session, expected: u64, changes: Changes) -> Result<u64> {
        self.change(session, Some(expected), false, changes).await
    }

    /// Makes a new value of an attribute from the one there is: no concurrent change of it is lost.
    /// `change` is called again when somebody was faster; `None` stands for no attribute. Two
    /// round trips, two more for each time.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Conflict`] after 32 tries; [`ErrorKind::Misuse`] when the value there is of
    /// another type; else as [`Sessions::insert`].
    pub async fn update<T: Serialize + DeserializeOwned>(
        &self,
        session: &Session,
        name: &str,
        change: impl FnMut(Option<T>) -> Option<T> + Send,
    ) -> Result<Option<T>> {
        let started = Instant::now();
        let result = self.inner.update_attribute(session, name, change).await;
        telemetry::operation("update_attribute", started, &result);
        result
    }

    async fn change(
        &self,
        session: &Session,
        expected: Option<u64>,
        clear: bool,
        changes: Changes,
    ) -> Result<u64> {
        let started = Instant::now();
        let result = self.inner.change_attributes(session, expected, clear, changes).await;
        telemetry::operation("change_attributes", started, &result);
        result
    }
}

/// Where attributes are, and under whose id they are sealed.
#[derive(Clone, Copy)]
struct Shelf {
    place: Place,
    origin: SessionId,
}

impl Inner {
    async fn attributes_of(&self, session: &Session) -> Result<Attributes> {
        let shelf = self.shelf(session).await?;
        let stored = self.store.attributes(&shelf.place).await?;
        let mut values = BTreeMap::new();
        for attribute in stored.values {
            let value = self.attributes.open(shelf, &attribute)?;
            values.insert(attribute.name, value);
        }
        Ok(Attributes { version: stored.version, values })
    }

    async fn change_attributes(
        &self,
        session: &Session,
        expected: Option<u64>,
        clear: bool,
        changes: Changes,
    ) -> Result<u64> {
        let shelf = self.shelf(session).await?;
        let changes = changes
            .0
            .into_iter()
            .map(|(name, value)| self.attributes.change(shelf, name, None, value.as_deref()))
            .collect::<Result<Vec<_>>>()?;
        self.send(session, shelf, expected, clear, changes).await
    }

    async fn update_attribute<T: Serialize + DeserializeOwned>(
        &self,
        session: &Session,
        name: &str,
        mut change: impl FnMut(Option<T>) -> Option<T> + Send,
    ) -> Result<Option<T>> {
        let shelf = self.shelf(session).await?;
        for _ in 0..ATTEMPTS {
            let stored = self.store.attributes(&shelf.place).await?;
            let held = stored.values.iter().find(|attribute| attribute.name == name);
            let value = held.map(|held| self.attributes.open(shelf, held)).transpose()?;
            let next = change(value.as_ref().map(typed).transpose()?);
            let value = next.as_ref().map(json).transpose()?;
            let expected = Some(held.map_or(0, |held| held.version));
            let change =
                self.attributes.change(shelf, name.to_owned(), expected, value.as_deref())?;
            match self.send(session, shelf, None, false, vec![change]).await {
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error),
                Ok(_) => return Ok(next),
            }
        }
        Err(conflict())
    }

    async fn send(
        &self,
        session: &Session,
        shelf: Shelf,
        expected: Option<u64>,
        clear: bool,
        changes: Vec<Change>,
    ) -> Result<u64> {
        let request = Update {
            place: shelf.place,
            expected,
            clear,
            changes,
            nonce: nonce()?,
            outbox: self.outbox(session.caller())?,
        };
        let waking = self.waking(shelf.place.location.bucket);
        let outcome = self.store.update(&request).await?.outcome;
        match outcome {
            UpdateOutcome::Done { version } => {
                // Only the end of a session is reported.
                waking.cancel();
                Ok(version)
            }
            UpdateOutcome::Conflict { .. } => {
                waking.cancel();
                Err(conflict())
            }
            UpdateOutcome::Full => Err(Error::new(
                ErrorKind::Misuse,
                format_args!("a session has at most {MAX_ATTRIBUTES} attributes"),
            )),
            UpdateOutcome::Gone => Err(gone()),
            UpdateOutcome::Expired => Err(Error::new(ErrorKind::Expired, "session has expired")),
        }
    }

    async fn shelf(&self, session: &Session) -> Result<Shelf> {
        if session.is_step_up_required() {
            return Err(step_up_required());
        }
        if let (Some(place), Some(origin)) = (session.place(), session.facts().origin) {
            return Ok(Shelf { place, origin });
        }
        let places = match session.place() {
            Some(place) => vec![place],
            None => {
                let all = self.locator.all(session.user()).into_iter();
                all.map(|location| Place { location, session: session.id() }).collect()
            }
        };
        for place in places {
            if let Some(shelf) = self.shelf_at(place).await? {
                return Ok(shelf);
            }
        }
        Err(gone())
    }

    /// What the record of a session says about where its attributes are.
    async fn shelf_at(&self, place: Place) -> Result<Option<Shelf>> {
        let reading = self.store.read(&place).await?;
        let Some(record) = reading.record else { return Ok(None) };
        let header = Header::decode(&record)?;
        if header.common.created_at <= reading.not_before {
            return Ok(None);
        }
        let sealed = sealed_part(&record);
        let identity = Identity::verify(self.events.records(), place, &header, sealed)?;
        Ok(Some(Shelf { place, origin: identity.origin.unwrap_or(place.session) }))
    }
}

/// Seals attributes, each for its session and its name.
#[derive(Debug)]
pub(super) struct AttributeKeys(CipherKeys);

impl AttributeKeys {
    pub(super) fn new(encryption: &RootKeys) -> Result<Self> {
        Ok(Self(encryption.cipher("session/attribute/v1")?))
    }

    fn change(
        &self,
        shelf: Shelf,
        name: String,
        expected: Option<u64>,
        value: Option<&[u8]>,
    ) -> Result<Change> {
        if name.is_empty() || name.len() > MAX_ATTRIBUTE_NAME_BYTES {
            return Err(Error::new(
                ErrorKind::Misuse,
                format_args!("the name of an attribute has 1 to {MAX_ATTRIBUTE_NAME_BYTES} bytes"),
            ));
        }
        let value = match value {
            Some(value) => {
                let sealed = self.0.seal(&bound(shelf, &name), value)?;
                if sealed.len() > MAX_ATTRIBUTE_BYTES {
                    return Err(too_large());
                }
                Some(sealed)
            }
            None => None,
        };
        Ok(Change { name, expected, value })
    }

    fn open(&self, shelf: Shelf, attribute: &StoredAttribute) -> Result<Value> {
        let altered = || Error::invalid("session attribute was altered or moved");
        let plain =
            self.0.open(&bound(shelf, &attribute.name), &attribute.value).map_err(|_| altered())?;
        serde_json::from_slice(&plain).map_err(|_| altered())
    }
}

/// What a value is sealed to. A session keeps its origin through regenerations.
fn bound(shelf: Shelf, name: &str) -> Vec<u8> {
    let origin = Place { location: shelf.place.location, session: shelf.origin };
    let mut bytes = origin.to_bytes().to_vec();
    bytes.extend_from_slice(name.as_bytes());
    bytes
}

fn typed<T: DeserializeOwned>(value: &Value) -> Result<T> {
    T::deserialize(value).map_err(|error| {
        Error::new(ErrorKind::Misuse, "session attribute is of another type").with_source(error)
    })
}

/// The value as JSON; a large one is given up where it gets too large.
fn json<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>> {
    let mut text = Bounded(Vec::new());
    match serde_json::to_writer(&mut text, value) {
        Ok(()) => Ok(text.0),
        Err(error) if error.is_io() => Err(too_large()),
        Err(error) => {
            let error = Error::new(ErrorKind::Misuse, "session attribute has no form in JSON")
                .with_source(error);
            Err(error)
        }
    }
}

/// Takes no more than could ever be stored.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_ATTRIBUTE_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn too_large() -> Error {
    let text = format_args!("an attribute has at most {MAX_ATTRIBUTE_BYTES} bytes, sealed");
    Error::new(ErrorKind::Misuse, text)
}

fn conflict() -> Error {
    Error::new(ErrorKind::Conflict, "session attributes were changed in between")
}
