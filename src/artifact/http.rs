//! One GET into a file: size cap, stall timer, retries that go on where the last one broke off.

use std::path::Path;
use std::time::{Duration, SystemTime};

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_RANGE, HeaderMap, RANGE, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, redirect};
use tokio::sync::mpsc;

use super::FetchError;
use super::files::{blocking, failed};
use super::mirror::Address;
use super::part::Part;

/// How patient a transfer is.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Longest silence of the server.
    pub stall: Duration,
    /// Pause before the second attempt; doubled before each further one.
    pub pause: Duration,
    /// Attempts in a row that bring nothing new.
    pub attempts: u32,
    /// The longest rest a server may ask for; one that asks for more is left alone.
    pub rest: Duration,
}

impl Default for Manner {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { stall: seconds(30), pause: seconds(1), attempts: 4, rest: seconds(120) }
    }
}

/// Redirects that are followed: more are a circle, or as good as one.
const REDIRECTS: usize = 10;

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(15);

/// Pieces between the network and the disk. A piece is what the transport reads at once, 400 KiB at most; so this
/// bounds the memory of a transfer, and what a killed run has read in vain.
const QUEUE: usize = 3;

/// What all transfers speak through. Proxies are the environment's.
pub(super) fn client() -> Client {
    let agent = concat!("calicolab/", env!("CARGO_PKG_VERSION"));
    let policy = redirect::Policy::limited(REDIRECTS);
    let builder = Client::builder().user_agent(agent).connect_timeout(CONNECT).redirect(policy).referer(false);
    builder.build().expect("the TLS library starts")
}

/// One address to be fetched into one file.
pub(super) struct Transfer<'a> {
    /// Speaks to the server.
    pub client: &'a Client,
    /// How patiently.
    pub manner: Manner,
    /// From where.
    pub address: &'a Address,
    /// The file that the part is, for errors.
    pub into: &'a Path,
    /// The length in bytes that the whole file must have, where that is known.
    pub wanted: Option<u64>,
    /// The most that is accepted, in bytes.
    pub cap: u64,
}

/// Hears how a transfer goes.
pub(super) trait Tell: Send {
    /// So many bytes are there, of so many where the server says so.
    fn moved(&mut self, have: u64, total: Option<u64>);
    /// The transfer rests, and why.
    fn waits(&mut self, why: String);
}

/// What a server said to be sending.
enum Answer {
    /// The rest of the file (or all of it), and the length of the whole where that is known.
    Body { response: Response, from: u64, total: Option<u64> },
    /// Nothing: what is here is all.
    Nothing,
}

/// What ended an attempt, and the rest that the server asked for.
struct Broken {
    error: FetchError,
    rest: Option<Duration>,
}

impl From<FetchError> for Broken {
    fn from(error: FetchError) -> Self {
        Self { error, rest: None }
    }
}

impl Transfer<'_> {
    /// Fetch, again and again where that may help, going on from what `part` holds if the server can. The bytes are
    /// not judged: who uses them compares the digest.
    pub(super) async fn run(&self, mut part: Part, tell: &mut dyn Tell) -> (Part, Result<(), FetchError>) {
        let (mut attempt, mut pause, mut most) = (1, self.manner.pause, part.have());
        loop {
            let ended;
            (part, ended) = self.once(part, tell).await;
            let Err(Broken { error, rest }) = ended else { return (part, Ok(())) };
            if part.have() > most {
                // It moves: only attempts that bring nothing count.
                (attempt, pause, most) = (1, self.manner.pause, part.have());
            }
            let wait = rest.unwrap_or_default().max(pause);
            // A mirror that is not there is not worth waiting for: there is another address.
            let absent = self.address.is_mirror() && error.is_unreachable();
            if absent || !passing(&error) || attempt >= self.manner.attempts || wait > self.manner.rest.max(pause) {
                return (part, Err(error));
            }
            let asked = if rest.is_some() { ", as the server asks" } else { "" };
            tell.waits(format!("{error}; again in {:.0} s{asked}", wait.as_secs_f32().ceil()));
            tracing::debug!(address = %self.address, attempt, %error, ?wait, "trying again");
            tokio::time::sleep(wait).await; // a server in trouble gets rest, more after each of few attempts
            pause *= 2;
            attempt += 1;
        }
    }

    async fn once(&self, mut part: Part, tell: &mut dyn Tell) -> (Part, Result<(), Broken>) {
        let had = part.have();
        if had > 0 && self.wanted == Some(had) {
            return (part, Ok(()));
        }
        match self.ask(had).await {
            Ok(Answer::Nothing) => (part, Ok(())),
            Ok(Answer::Body { response, from, total }) => {
                if from == 0
                    && had > 0
                    && let Err(error) = part.restart()
                {
                    return (part, Err(self.writing(had)(error).into()));
                }
                let (part, poured) = self.pour(response, part, total, tell).await;
                (part, poured.map_err(Broken::from))
            }
            Err(broken) => {
                // What is there is no beginning of what the server has: the next attempt begins afresh.
                let afresh = matches!(broken.error, FetchError::Range { .. }) && had > 0;
                match if afresh { part.restart() } else { Ok(()) } {
                    Ok(()) => (part, Err(broken)),
                    Err(error) => (part, Err(self.writing(had)(error).into())),
                }
            }
        }
    }

    /// Ask for what comes after `had` bytes.
    async fn ask(&self, had: u64) -> Result<Answer, Broken> {
        let mut request = self.client.get(self.address.url());
        if had > 0 {
            request = request.header(RANGE, format!("bytes={had}-"));
        }
        if let Some(header) = self.address.authorization() {
            request = request.header(AUTHORIZATION, header.clone());
        }
        if let Some(header) = self.address.accept() {
            request = request.header(ACCEPT, header.clone());
        }
        let response = self.heard(request.send()).await?;
        let status = response.status();
        let range = Span::of(response.headers());
        let wrong_range = || FetchError::Range { url: self.address.to_string() };
        let (from, total) = match (status, range) {
            (StatusCode::PARTIAL_CONTENT, Some(Span { from: Some(from), total })) if from == had && had > 0 => {
                let rest = response.content_length();
                (had, total.or(rest.map(|rest| had.saturating_add(rest))))
            }
            // Neither what was asked for, nor a whole file.
            (StatusCode::PARTIAL_CONTENT, _) => return Err(wrong_range().into()),
            (StatusCode::RANGE_NOT_SATISFIABLE, Some(Span { total: Some(total), .. })) if total == had && had > 0 => {
                return Ok(Answer::Nothing);
            }
            (StatusCode::RANGE_NOT_SATISFIABLE, _) if had > 0 => return Err(wrong_range().into()),
            _ if status.is_success() => (0, response.content_length()),
            _ => return Err(self.refused(status, response.headers())),
        };
        match (total, self.wanted) {
            (Some(got), Some(wanted)) if got != wanted => {
                Err(FetchError::WrongLength { url: self.address.to_string(), got, wanted }.into())
            }
            (Some(got), None) if got > self.cap => Err(self.too_long().into()),
            _ => Ok(Answer::Body { response, from, total }),
        }
    }

    /// Hand the body to the disk's thread, piece by piece: reading goes on while it hashes and writes.
    async fn pour(
        &self,
        mut response: Response,
        part: Part,
        total: Option<u64>,
        tell: &mut dyn Tell,
    ) -> (Part, Result<(), FetchError>) {
        let mut have = part.have();
        let (send, receive) = mpsc::channel(QUEUE);
        let reading = async move {
            while let Some(piece) = self.heard(response.chunk()).await? {
                have += piece.len() as u64;
                if have > self.cap {
                    return Err(self.too_long());
                }
                if send.send(piece).await.is_err() {
                    // The disk took no more, and says why itself.
                    return Ok(());
                }
                tell.moved(have, total);
            }
            Ok(())
        };
        let (read, (mut part, written)) = tokio::join!(reading, blocking(move || part.drink(receive)));
        let ended = match (written, read) {
            (Err(error), _) => {
                let needed = self.wanted.or(total).unwrap_or_else(|| part.have());
                Err(self.writing(needed)(error))
            }
            (Ok(()), Err(error @ FetchError::TooLong { .. })) => {
                // What is too long is no beginning of the pin's.
                part.restart().map_err(self.writing(0)).and(Err(error))
            }
            (Ok(()), Err(error)) => Err(error),
            (Ok(()), Ok(())) => match self.wanted {
                // A server that tells no length and breaks off looks like one that has come to its end.
                Some(wanted) if part.have() < wanted => {
                    Err(FetchError::Short { url: self.address.to_string(), got: part.have(), wanted })
                }
                _ => Ok(()),
            },
        };
        (part, ended)
    }

    async fn heard<T>(&self, answer: impl Future<Output = Result<T, reqwest::Error>>) -> Result<T, FetchError> {
        match tokio::time::timeout(self.manner.stall, answer).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(FetchError::of_transport(self.address.to_string(), error)),
            Err(_) => Err(FetchError::Stalled { url: self.address.to_string(), after: self.manner.stall }),
        }
    }

    fn refused(&self, status: StatusCode, headers: &HeaderMap) -> Broken {
        let rest = headers.get(RETRY_AFTER).and_then(|value| wait_of(value.to_str().ok()?, SystemTime::now()));
        let url = self.address.to_string();
        let error = match status {
            StatusCode::TOO_MANY_REQUESTS => FetchError::RateLimited { url, rest },
            _ => FetchError::Status { url, status: status.as_u16() },
        };
        Broken { error, rest }
    }

    fn too_long(&self) -> FetchError {
        FetchError::TooLong { url: self.address.to_string(), limit: self.cap }
    }

    /// A failure of this host's disk, on which `needed` bytes were to be written.
    fn writing(&self, needed: u64) -> impl Fn(std::io::Error) -> FetchError + use<> {
        let folder = self.into.parent().unwrap_or(self.into);
        failed(&format!("writing {}", self.into.display()), folder, needed)
    }
}

/// Whether another attempt may go better.
fn passing(error: &FetchError) -> bool {
    match error {
        FetchError::Transfer { .. }
        | FetchError::Stalled { .. }
        | FetchError::Range { .. }
        | FetchError::Short { .. }
        | FetchError::RateLimited { .. } => true,
        FetchError::Status { status, .. } => *status >= 500 || *status == StatusCode::REQUEST_TIMEOUT.as_u16(),
        _ => false,
    }
}

/// What a `Content-Range` header says: `bytes 5-9/10`, `bytes 5-9/*`, `bytes */10`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    from: Option<u64>,
    total: Option<u64>,
}

impl Span {
    fn of(headers: &HeaderMap) -> Option<Self> {
        Self::parse(headers.get(CONTENT_RANGE)?.to_str().ok()?)
    }

    /// Only spans that reach the file's end are read: no other is ever asked for.
    fn parse(text: &str) -> Option<Self> {
        let (span, total) = text.strip_prefix("bytes ")?.trim().split_once('/')?;
        let total = if total == "*" { None } else { Some(total.parse().ok()?) };
        if span == "*" {
            return Some(Self { from: None, total });
        }
        let (from, last) = span.split_once('-')?;
        let (from, last): (u64, u64) = (from.parse().ok()?, last.parse().ok()?);
        let to_the_end = total.is_none_or(|total: u64| last.checked_add(1) == Some(total));
        (from <= last && to_the_end).then_some(Self { from: Some(from), total })
    }
}

/// What a `Retry-After` header asks for: seconds, or a date seen from `now`.
fn wait_of(text: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text.trim()).ok()?;
    Some(SystemTime::from(date.timestamp()).duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_span_to_the_end_of_the_file_is_one() {
        let span = |from, total| Some(Span { from, total });
        assert_eq!(Span::parse("bytes 5-9/10"), span(Some(5), Some(10)));
        assert_eq!(Span::parse("bytes 5-9/*"), span(Some(5), None));
        assert_eq!(Span::parse("bytes */10"), span(None, Some(10)));
        for text in
            ["bytes 5-8/10", "bytes 9-5/10", "bytes 5-18446744073709551615/6", "5-9/10", "bytes 5-9", "lines 1-2/3", ""]
        {
            assert_eq!(Span::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_server_asks_for_rest_in_seconds_or_by_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let seconds = |text| wait_of(text, now).map(|wait| wait.as_secs());
        assert_eq!(seconds("120"), Some(120));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:50:07 GMT"), Some(30));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0), "a date that is over");
        assert_eq!(seconds("soon"), None);
    }
}
