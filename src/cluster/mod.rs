//! What this host remembers of its clusters.
