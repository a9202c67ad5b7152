//! The client program of Incus or LXD, called with argument lists and answering in JSON.

use std::fmt::Display;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::words::{ALL, Dialect};
use crate::command::{self, Argv};
use crate::machine::ProviderError;

/// Longer than any single thing takes, an image's import among them.
const LIMIT: Duration = Duration::from_secs(300);

/// A way to the daemon on this host.
#[derive(Clone, Debug)]
pub struct Client {
    /// Whose it is.
    pub dialect: &'static Dialect,
}

/// Why a daemon cannot be spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Silence {
    /// Its client is not installed.
    NoClient,
    /// Its socket is closed to this user.
    Denied(PathBuf),
    /// Nobody listens.
    NoDaemon(PathBuf),
}

impl Client {
    /// The client of `dialect`, if its daemon answers this user.
    pub fn of(dialect: &'static Dialect) -> Result<Self, Silence> {
        if command::find(dialect.client).is_none() {
            return Err(Silence::NoClient);
        }
        let places = dialect.socket_places(|name| std::env::var(name).ok());
        let mut silence = None;
        for place in places {
            match UnixStream::connect(&place) {
                Ok(_) => return Ok(Self { dialect }),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => silence = Some(Silence::Denied(place)),
                Err(_) => silence = silence.or(Some(Silence::NoDaemon(place))),
            }
        }
        Err(silence.unwrap_or(Silence::NoClient))
    }

    /// The first daemon that answers; else, for the project that comes nearest to answering, why it does not.
    pub fn any() -> Result<Self, (&'static Dialect, Silence)> {
        let mut best: Option<(&'static Dialect, Silence)> = None;
        for dialect in ALL {
            match Self::of(dialect) {
                Ok(client) => return Ok(client),
                // The last one is the one that most hosts' archives have.
                Err(silence) if best.as_ref().is_none_or(|(_, known)| *known == Silence::NoClient) => {
                    best = Some((dialect, silence));
                }
                Err(_) => {}
            }
        }
        Err(best.expect("there are dialects"))
    }

    /// What is at `path` of the daemon's interface.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ProviderError> {
        let argv = self.argv().arg("query").arg(format!("local:{path}"));
        let text = self.run(&argv, String::new(), format!("asking {} for {path}", self.dialect.name)).await?;
        serde_json::from_str(&text).map_err(|error| ProviderError::Answer {
            asked: format!("{} for {path}", self.dialect.name),
            source: error,
        })
    }

    /// Make what `body` says below `path`. No secrets: arguments can be read by everybody on this host.
    pub async fn post(&self, path: &str, body: &Value, doing: impl Display) -> Result<(), ProviderError> {
        let argv = self.argv().args(["query", "--request", "POST", "--wait", "--data"]);
        let argv = argv.arg(body.to_string()).arg(format!("local:{path}"));
        self.run(&argv, String::new(), doing.to_string()).await.map(drop)
    }

    /// A verb of the client with its words, and what stands on its standard input.
    pub async fn verb(&self, words: &[&str], input: String, doing: impl Display) -> Result<(), ProviderError> {
        let argv = self.argv().args(words.iter().copied());
        self.run(&argv, input, doing.to_string()).await.map(drop)
    }

    /// What a verb of the client prints.
    pub async fn text(&self, words: &[&str]) -> Result<String, ProviderError> {
        let argv = self.argv().args(words.iter().copied());
        self.run(&argv, String::new(), format!("asking {}", self.dialect.name)).await
    }

    fn argv(&self) -> Argv {
        Argv::new(self.dialect.client)
    }

    async fn run(&self, argv: &Argv, input: String, doing: String) -> Result<String, ProviderError> {
        let done = command::run_with_input(argv, input.into_bytes(), LIMIT).await;
        done.and_then(|output| output.success(argv)).map_err(|source| ProviderError::Command { doing, source })
    }
}
