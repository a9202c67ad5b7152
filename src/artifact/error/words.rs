//! Pieces of what is told of bytes that could not be brought in.

use std::error::Error;
use std::fmt::Display;
use std::time::Duration;

pub(super) fn refusal(status: u16) -> String {
    let said = match status {
        401 => "wants to know who asks",
        403 => "does not let us have the file",
        404 => "has no such file",
        410 => "no longer has the file",
        500.. => "is in trouble",
        _ => "refuses",
    };
    format!("{said} (status {status})")
}

pub(in crate::artifact) fn after(rest: Option<Duration>) -> String {
    rest.map_or_else(String::new, |rest| format!(", and again only after {} s", rest.as_secs()))
}

pub(super) fn each(failures: &[impl Error + 'static]) -> String {
    let told = failures.iter().map(|failure| {
        let causes = std::iter::successors(Some(failure as &dyn Error), |&error| error.source());
        causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
    });
    told.collect::<Vec<_>>().join("\n")
}

pub(super) fn mib(bytes: u64) -> u64 {
    bytes >> 20
}

pub(super) fn join(words: &[impl Display]) -> String {
    words.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
