//! The conformance suite on the memory store.

use std::sync::Arc;

use watchdog_session::{MemoryStore, SessionStore};

async fn store() -> Option<Arc<dyn SessionStore>> {
    Some(Arc::new(MemoryStore::new()))
}

watchdog_session::session_store_tests!(store());
