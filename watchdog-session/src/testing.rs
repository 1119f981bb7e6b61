//! The conformance suite that every store runs (feature `testing`).
