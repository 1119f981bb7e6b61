//! Throw-away servers and a fault proxy for tests.
