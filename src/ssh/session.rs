//! The thread that owns one ssh2 session.
