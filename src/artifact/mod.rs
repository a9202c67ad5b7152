//! Bytes in: fetched or built, hashed, and only then used.
