//! Digests out of upstreams' own records: the lists of sums that lie beside their releases.

use super::FetchError;
use super::mirror::Address;
use super::store::Store;
use crate::event::Events;
use crate::lab::pin::Digest;

mod sums;

pub use sums::digests_of;

/// The most that is read of a list of sums, in bytes.
const LIST_CAP: u64 = 4 << 20;

/// Why an upstream gave no digest.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// Its server failed us.
    #[error(transparent)]
    Fetch(FetchError),
    /// Its list is silent on the file.
    #[error("{list} has no sum of {file}")]
    NotListed {
        /// The list's address.
        list: String,
        /// The file's.
        file: String,
    },
    /// Its list has several sums of one kind for the file.
    #[error("{list} contradicts itself on {file}")]
    Contradiction {
        /// The list's address.
        list: String,
        /// The file's.
        file: String,
    },
}

impl Store {
    /// The digests that the list at `list` gives for the file at `file`, one of each algorithm.
    pub async fn listed(&self, list: &str, file: &str, events: &Events) -> Result<Vec<Digest>, ResolveError> {
        let text = self.read(Address::upstream(list), LIST_CAP, events).await.map_err(ResolveError::Fetch)?;
        chosen(&String::from_utf8_lossy(&text), list, file)
    }
}

fn chosen(text: &str, list: &str, file: &str) -> Result<Vec<Digest>, ResolveError> {
    let path = reqwest::Url::parse(file).map_or_else(|_| file.to_owned(), |url| url.path().to_owned());
    let found = digests_of(text, &path);
    let (list, file) = (list.to_owned(), file.to_owned());
    if found.is_empty() {
        return Err(ResolveError::NotListed { list, file });
    }
    if found.windows(2).any(|two| two[0].algorithm() == two[1].algorithm()) {
        return Err(ResolveError::Contradiction { list, file });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_contradicts_itself_is_no_record() {
        let (a, b) = ("0a".repeat(32), "0b".repeat(32));
        let list = "https://x.example/SHA256SUMS";
        let told = |text: &str| chosen(text, list, "https://x.example/v1/a").map_err(|error| error.to_string());
        assert_eq!(
            told(&format!("{a}  a\n{b}  a\n")),
            Err(format!("{list} contradicts itself on https://x.example/v1/a"))
        );
        assert_eq!(told(&format!("{a}  b\n")), Err(format!("{list} has no sum of https://x.example/v1/a")));
        assert_eq!(told(&a).map(|digests| digests.len()), Ok(1));
    }
}
