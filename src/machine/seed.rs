//! The NoCloud seed disk, made without host tools.
