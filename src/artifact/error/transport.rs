//! What servers and the transport say, in words, and whether a certificate was the reason.

use std::error::Error;
use std::time::Duration;

/// OpenSSL's number for its part that speaks TLS, and that part's for a certificate it does not believe.
const TLS_DISTRUST: (i32, i32) = (20, 134);

/// Whether a certificate was the reason.
pub(super) fn distrusts(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |&error| error.source())
        .filter_map(|error| error.downcast_ref::<openssl::error::ErrorStack>())
        .flat_map(openssl::error::ErrorStack::errors)
        .any(|error| (error.library_code(), error.reason_code()) == TLS_DISTRUST)
}

/// A server's refusal, by its HTTP status.
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

/// The end of a sentence about a server that wants rest.
pub(in crate::artifact) fn after(rest: Option<Duration>) -> String {
    rest.map_or_else(String::new, |rest| format!(", and again only after {} s", rest.as_secs()))
}
