//! The tar around a pack's members in its one form: what a header says follows from name and length alone.

use super::PackError;

/// Tar's unit.
pub(super) const BLOCK: u64 = 512;

/// The header of a regular file that anybody may read, of nobody in particular and of no time.
pub(super) fn header(name: &str, bytes: u64) -> Result<[u8; 512], PackError> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name).map_err(|_| PackError::Name { name: name.into() })?;
    header.set_size(bytes);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    Ok(*header.as_bytes())
}

/// The number of zero bytes after a member of this length.
pub(super) fn padding(bytes: u64) -> u64 {
    bytes.next_multiple_of(BLOCK) - bytes
}

/// The bytes that a member of this length takes, with its header.
pub(super) fn room(bytes: u64) -> Option<u64> {
    bytes.checked_next_multiple_of(BLOCK)?.checked_add(BLOCK)
}

/// The length that a header says, if that is a number.
pub(super) fn length(header: &[u8; 512]) -> Option<u64> {
    tar::Header::from_byte_slice(header).entry_size().ok()
}
