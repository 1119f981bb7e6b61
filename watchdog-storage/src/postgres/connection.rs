//! What is lent out: a connection, a transaction.

use std::fmt;
use std::ops::{Deref, DerefMut};

use sqlx::postgres::PgTransactionManager;
use sqlx::{Connection as _, Executor as _, PgConnection};
use sqlx_core::transaction::TransactionManager as _;
use tokio::runtime::Handle;

use super::classify::classify;
use super::pool::{Live, Slot};
use crate::error::Result;

/// A connection on loan. Dropping it gives it back.
///
/// Queries run on `&mut *connection`, which is the driver's connection. What a query leaves behind
/// on its session (`SET`, temporary tables, session locks) meets the next user; an open
/// transaction does not, since such a connection is closed.
pub struct Connection {
    // Both are there until the drop.
    inner: Option<(Live, Slot)>,
}

impl Connection {
    pub(super) fn new(live: Live, slot: Slot) -> Self {
        Self { inner: Some((live, slot)) }
    }

    pub(super) async fn ping(&mut self) -> Result<(), sqlx::Error> {
        (**self).ping().await
    }

    /// Closes the connection and keeps the place.
    #[expect(clippy::expect_used, reason = "only `drop` and `throw_away` take it, both by value")]
    pub(super) fn throw_away(mut self) -> Slot {
        self.inner.take().expect("there until the drop").1
    }

    /// Has the connection closed instead of kept when it comes back.
    ///
    /// For sessions that were changed in a way the next user must not meet.
    pub fn discard(mut self) {
        self.set_spoilt(true);
    }

    fn set_spoilt(&mut self, is_spoilt: bool) {
        if let Some((live, _)) = &mut self.inner {
            live.is_spoilt = is_spoilt;
        }
    }

    #[expect(clippy::expect_used, reason = "only `drop` and `throw_away` take it, both by value")]
    fn live(&self) -> &Live {
        &self.inner.as_ref().expect("there until the drop").0
    }

    #[expect(clippy::expect_used, reason = "only `drop` and `throw_away` take it, both by value")]
    fn live_mut(&mut self) -> &mut Live {
        &mut self.inner.as_mut().expect("there until the drop").0
    }

    /// Begins a transaction.
    ///
    /// # Errors
    ///
    /// As the driver's, see [`classify`].
    pub async fn begin(mut self) -> Result<Transaction> {
        // The driver forgets a `BEGIN` whose caller goes away before the answer. Such a connection
        // must not be lent out again.
        self.set_spoilt(true);
        PgTransactionManager::begin(&mut self, None).await.map_err(classify)?;
        self.set_spoilt(false);
        Ok(Transaction { connection: self })
    }
}

impl Deref for Connection {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.live().raw
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.live_mut().raw
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some((live, slot)) = self.inner.take() else { return };
        // Outside of a runtime nothing can be awaited: the connection is closed.
        if let Ok(runtime) = Handle::try_current() {
            let pool = std::sync::Arc::clone(&slot.pool);
            runtime.spawn(pool.take_back(live, slot));
        }
    }
}

/// A transaction. Dropping it rolls it back.
pub struct Transaction {
    connection: Connection,
}

impl Transaction {
    /// Makes the changes last.
    ///
    /// # Errors
    ///
    /// As the driver's, see [`classify`]. [`ErrorKind::Precondition`](crate::ErrorKind::Precondition)
    /// when a statement failed before and its error was passed over: the changes do not last. After
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) nobody knows whether they do.
    pub async fn commit(mut self) -> Result<()> {
        // To COMMIT a failed transaction answers ROLLBACK, which is a success to the driver. Any
        // other statement is refused (25P02).
        self.execute("SELECT 1").await.map_err(classify)?;
        PgTransactionManager::commit(&mut self.connection).await.map_err(classify)
    }

    /// Takes the changes back and waits for it.
    ///
    /// # Errors
    ///
    /// As the driver's, see [`classify`]. The changes do not last in any case.
    pub async fn rollback(mut self) -> Result<()> {
        PgTransactionManager::rollback(&mut self.connection).await.map_err(classify)
    }
}

impl Deref for Transaction {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").finish_non_exhaustive()
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        // Queued, and sent when the connection comes back. Nothing after a commit.
        PgTransactionManager::start_rollback(&mut self.connection);
    }
}
