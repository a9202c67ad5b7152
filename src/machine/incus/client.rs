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
use crate::machine::{Lack, ProviderError};

/// Longer than any single thing takes.
const LIMIT: Duration = Duration::from_secs(300);

/// Longer than an image takes to another server, over a slow line too.
const SEND_LIMIT: Duration = Duration::from_secs(3600);

/// What both clients call the daemon of this host.
const LOCAL: &str = "local";

/// A way to a daemon.
#[derive(Clone, Debug)]
pub struct Client {
    /// Whose it is.
    pub dialect: &'static Dialect,
    /// What the client calls the daemon.
    remote: String,
    /// The project that is asked; the daemon's default one if none is named.
    project: Option<String>,
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
    /// No client knows a remote of this name.
    NoRemote {
        /// The name.
        remote: String,
        /// Those there are.
        others: Vec<String>,
    },
    /// The remote of this name hands out images and makes no instances.
    NoServer(String),
    /// Nobody answers where a remote is said to be.
    Unreachable {
        /// Its name.
        remote: String,
        /// Its address.
        at: String,
        /// How the attempt ended.
        why: String,
    },
    /// A remote does not trust this user's certificate.
    Untrusted {
        /// Its name.
        remote: String,
        /// Its address.
        at: String,
    },
    /// The client would not speak to the remote of this name, by its own words: the certificate there is not the one it was.
    Refused(String, String),
}

impl Silence {
    /// The same as something that is missing, and what to do about it.
    pub fn lack(&self, dialect: &Dialect) -> Lack {
        let Dialect { name, group, client, .. } = dialect;
        let (id, what, remedy) = match self {
            Silence::NoClient => ("incus.missing", "there is neither Incus nor LXD".into(), dialect.install.to_owned()),
            Silence::Denied(path) => (
                "incus.denied",
                format!("{name}'s socket {} is closed to this user", path.display()),
                format!("sudo usermod -aG {group} \"$USER\", then log in again"),
            ),
            Silence::NoDaemon(path) => (
                "incus.daemon",
                format!("{name}'s daemon does not answer at {}", path.display()),
                dialect.start.to_owned(),
            ),
            Silence::NoRemote { remote, others } => {
                let what = format!("{name}'s client knows no remote `{remote}`; there is {}", others.join(", "));
                ("incus.remote", what, format!("{client} remote add {remote} https://ADDRESS:8443"))
            }
            Silence::NoServer(remote) => {
                let what = format!("the remote `{remote}` hands out images and makes no instances");
                ("incus.remote", what, format!("{client} remote list shows what there is"))
            }
            Silence::Unreachable { remote, at, why } => {
                let what = format!("the remote `{remote}` is not reachable at {at}: {why}");
                let remedy = format!(
                    "there, `{client} config set core.https_address :8443`; from here, `{client} remote list` for a wrong address"
                );
                ("incus.remote-unreachable", what, remedy)
            }
            Silence::Untrusted { remote, at } => {
                let what = format!("the remote `{remote}` at {at} does not trust this user's certificate");
                let remedy = format!(
                    "there, `{client} config trust add`; here, `{client} remote remove {remote}` and `{client} remote add {remote} {at}` with what it gives"
                );
                ("incus.remote-untrusted", what, remedy)
            }
            Silence::Refused(remote, said) => {
                let what = format!("{name}'s client does not speak to the remote `{remote}`: {said}");
                let remedy = format!(
                    "if its certificate was changed on purpose, `{client} remote remove {remote}` and add it again"
                );
                ("incus.remote-refused", what, remedy)
            }
        };
        Lack { id: id.into(), what, remedy, bearable: false }
    }

    /// The same as an error.
    pub fn error(&self, dialect: &Dialect) -> ProviderError {
        let lack = self.lack(dialect);
        ProviderError::Silent { why: format!("{} ({})", lack.what, lack.remedy) }
    }
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
                Ok(_) => return Ok(Self::at(dialect, LOCAL)),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => silence = Some(Silence::Denied(place)),
                Err(_) => silence = silence.or(Some(Silence::NoDaemon(place))),
            }
        }
        Err(silence.unwrap_or(Silence::NoClient))
    }

    /// The way to the daemon that the client calls `remote`.
    pub fn at(dialect: &'static Dialect, remote: &str) -> Self {
        Self { dialect, remote: remote.into(), project: None }
    }

    /// The same daemon's `project`; its default one if none is named.
    #[must_use]
    pub fn in_project(&self, project: Option<&str>) -> Self {
        Self { project: project.map(str::to_owned), ..self.clone() }
    }

    /// The project that is asked, unless it is the daemon's default one.
    pub fn project(&self) -> Option<&str> {
        self.project.as_deref()
    }

    /// A thing of this daemon as verbs name it.
    pub fn thing(&self, name: &str) -> String {
        format!("{}:{name}", self.remote)
    }

    /// A path of the daemon's interface, in the project that is asked.
    fn path(&self, path: &str) -> String {
        let mut path = self.thing(path);
        if let Some(project) = &self.project {
            path.push(if path.contains('?') { '&' } else { '?' });
            path.push_str("project=");
            path.push_str(project);
        }
        path
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
        let argv = self.argv().arg("query").arg(self.path(path));
        let text = self.run(&argv, String::new(), format!("asking {} for {path}", self.dialect.name), LIMIT).await?;
        serde_json::from_str(&text).map_err(|error| ProviderError::Answer {
            asked: format!("{} for {path}", self.dialect.name),
            source: error,
        })
    }

    /// Make what `body` says below `path`. No secrets: arguments can be read by everybody on this host.
    pub async fn post(&self, path: &str, body: &Value, doing: impl Display) -> Result<(), ProviderError> {
        self.change("POST", path, Some(body), doing).await
    }

    /// Change what is at `path`, and wait until that is done. No secrets, as above.
    pub async fn change(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        doing: impl Display,
    ) -> Result<(), ProviderError> {
        let argv = self.argv().args(["query", "--request", method, "--wait"]);
        let argv = match body {
            Some(body) => argv.arg("--data").arg(body.to_string()),
            None => argv,
        };
        self.run(&argv.arg(self.path(path)), String::new(), doing.to_string(), LIMIT).await.map(drop)
    }

    /// A verb of the client with its words, and what stands on its standard input.
    pub async fn verb(&self, words: &[&str], input: String, doing: impl Display) -> Result<(), ProviderError> {
        self.run(&self.verb_argv(words), input, doing.to_string(), LIMIT).await.map(drop)
    }

    /// A verb that carries much to the daemon.
    pub async fn send(&self, words: &[&str], doing: impl Display) -> Result<(), ProviderError> {
        self.run(&self.verb_argv(words), String::new(), doing.to_string(), SEND_LIMIT).await.map(drop)
    }

    /// What a verb of the client prints.
    pub async fn text(&self, words: &[&str]) -> Result<String, ProviderError> {
        self.run(&self.verb_argv(words), String::new(), format!("asking {}", self.dialect.name), LIMIT).await
    }

    fn verb_argv(&self, words: &[&str]) -> Argv {
        let argv = self.argv().args(words.iter().copied());
        match &self.project {
            Some(project) => argv.args(["--project", project]),
            None => argv,
        }
    }

    fn argv(&self) -> Argv {
        Argv::new(self.dialect.client)
    }

    async fn run(&self, argv: &Argv, input: String, doing: String, limit: Duration) -> Result<String, ProviderError> {
        let done = command::run_with_input(argv, input.into_bytes(), limit).await;
        done.and_then(|output| output.success(argv)).map_err(|source| ProviderError::Command { doing, source })
    }
}
