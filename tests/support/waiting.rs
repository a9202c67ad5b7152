//! Waiting in tests, by the product's own loop: for a condition, with a deadline that names what was waited for.

use std::time::Duration;

use calicolab::wait::{self, Asked, Patience};

/// As long as anything may take on a machine that is busy with other tests.
const LIMIT: Duration = Duration::from_secs(120);

/// Return as soon as `condition` gives something; panics with `what` if it never does.
#[track_caller]
pub fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    async move {
        let patience = Patience { limit: LIMIT, pause: Duration::from_millis(5) };
        let asked = wait::until(patience, || {
            std::future::ready(condition().map_or_else(|| Asked::NotYet(what.into()), Asked::Yes))
        });
        asked.await.unwrap_or_else(|error| panic!("{caller}: {error}"))
    }
}
