//! One GET into a file: size cap, stall timer, retries that go on where the last one broke off.

use std::path::Path;
use std::time::Duration;

use reqwest::header::{CONTENT_RANGE, RANGE};
use reqwest::{Client, Response, StatusCode};
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};

use super::FetchError;
use super::files::failed;

/// How patient a transfer is.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Longest silence of the server.
    pub stall: Duration,
    /// Pause before the second attempt; doubled before each further one.
    pub pause: Duration,
    /// Attempts in all.
    pub attempts: u32,
}

impl Default for Manner {
    fn default() -> Self {
        Self { stall: Duration::from_secs(30), pause: Duration::from_secs(1), attempts: 4 }
    }
}

/// One address to be fetched into one file.
pub(super) struct Transfer<'a> {
    /// Speaks to the server.
    pub client: &'a Client,
    /// How patiently.
    pub manner: Manner,
    /// From where.
    pub url: &'a str,
    /// Into which file; what it holds already is gone on from, if the server can.
    pub into: &'a Path,
    /// The most that is accepted, in bytes.
    pub cap: u64,
}

/// Hears how many bytes there are, and of how many where the server says so.
type Tell<'a> = dyn FnMut(u64, Option<u64>) + Send + 'a;

impl Transfer<'_> {
    /// Fetch, again and again where that may help. The bytes are not checked: who uses them hashes them.
    pub(super) async fn run(&self, tell: &mut Tell<'_>) -> Result<(), FetchError> {
        let mut pause = self.manner.pause;
        let mut attempt = 1;
        loop {
            match self.once(tell).await {
                Err(error) if passing(&error) && attempt < self.manner.attempts => {
                    tracing::debug!(url = self.url, attempt, %error, "trying again");
                    // No waiting for a condition: attempts are few and counted, and a server in trouble gets more
                    // rest after each.
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                    attempt += 1;
                }
                ended => return ended,
            }
        }
    }

    async fn once(&self, tell: &mut Tell<'_>) -> Result<(), FetchError> {
        let &Self { client, manner, url, into, cap } = self;
        let folder = into.parent().unwrap_or(into);
        let writing = failed(&format!("writing {}", into.display()), folder, cap);
        let had = tokio::fs::metadata(into).await.map_or(0, |meta| meta.len());
        let mut request = client.get(url);
        if had > 0 {
            request = request.header(RANGE, format!("bytes={had}-"));
        }
        let mut response = heard(manner, url, request.send()).await?;
        let status = response.status();
        if status == StatusCode::RANGE_NOT_SATISFIABLE {
            // What is there is no beginning of what the server has: the next attempt begins afresh.
            tokio::fs::remove_file(into).await.map_err(&writing)?;
        }
        if !status.is_success() {
            return Err(FetchError::Status { url: url.into(), status: status.as_u16() });
        }
        let mut have = if continues(&response, had) { had } else { 0 };
        let total = response.content_length().map(|rest| have.saturating_add(rest));
        let too_long = || FetchError::TooLong { url: url.into(), limit: cap };
        if total.is_some_and(|total| total > cap) {
            return Err(too_long());
        }
        let mut open = tokio::fs::OpenOptions::new();
        open.create(true).write(true).truncate(false);
        let mut file = open.open(into).await.map_err(&writing)?;
        file.set_len(have).await.map_err(&writing)?;
        file.seek(std::io::SeekFrom::Start(have)).await.map_err(&writing)?;
        let ended = async {
            while let Some(chunk) = heard(manner, url, response.chunk()).await? {
                have += chunk.len() as u64;
                if have > cap {
                    return Err(too_long());
                }
                file.write_all(&chunk).await.map_err(&writing)?;
                tell(have, total);
            }
            Ok(())
        };
        let ended = ended.await;
        // The last write may still be under way in another thread, and the next attempt goes on from what is there.
        file.flush().await.map_err(&writing).and(ended)
    }
}

/// Whether another attempt may go better.
fn passing(error: &FetchError) -> bool {
    match error {
        FetchError::Transfer { .. } | FetchError::Stalled { .. } => true,
        FetchError::Status { status, .. } => *status >= 500 || matches!(status, 408 | 416 | 429),
        _ => false,
    }
}

/// Whether the answer is the rest of a file of which `had` bytes are here.
fn continues(response: &Response, had: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    had > 0
        && response.status() == StatusCode::PARTIAL_CONTENT
        && range.is_some_and(|range| range.starts_with(&format!("bytes {had}-")))
}

async fn heard<T>(
    manner: Manner,
    url: &str,
    answer: impl Future<Output = Result<T, reqwest::Error>>,
) -> Result<T, FetchError> {
    match tokio::time::timeout(manner.stall, answer).await {
        Ok(Ok(value)) => Ok(value),
        // The address stands in our own text already.
        Ok(Err(source)) => Err(FetchError::Transfer { url: url.into(), source: source.without_url() }),
        Err(_) => Err(FetchError::Stalled { url: url.into(), after: manner.stall }),
    }
}
