//! One JSON object a happening on standard output.

use super::Reader;
use crate::event::Stamped;

/// Nothing to remember.
pub(super) struct Json;

impl Reader for Json {
    fn read(&mut self, stamped: &Stamped) {
        if let Ok(line) = serde_json::to_string(stamped) {
            super::data(&line);
        }
    }
}
