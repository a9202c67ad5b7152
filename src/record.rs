//! The debug log of the cluster at work: always written, at `log` in its folder.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use tracing_subscriber::fmt::MakeWriter;

/// The log's name in the folder.
pub const LOG: &str = "log";

static KEPT: OnceLock<Mutex<Option<File>>> = OnceLock::new();

/// Listen to what the program says of itself; kept from the moment [`keep`] names a folder.
pub fn listen() {
    let format = tracing_subscriber::fmt().with_ansi(false).with_max_level(tracing::Level::DEBUG).with_writer(Here);
    // A second listener (of a test that calls twice) is no reason to fail.
    let _ = format.try_init();
}

/// From here on write to `log` in `folder`.
pub fn keep(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let file = File::options().create(true).append(true).mode(0o600).open(folder.join(LOG))?;
    *cell().lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
    Ok(())
}

fn cell() -> &'static Mutex<Option<File>> {
    KEPT.get_or_init(Mutex::default)
}

struct Here;

impl<'a> MakeWriter<'a> for Here {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}

impl Write for Here {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match cell().lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            Some(file) => file.write(bytes),
            None => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
