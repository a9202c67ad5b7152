//! Which daemon a cluster's machines were asked of: written before the first of them is.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::answer::Server;
use super::away::{self, Answering};
use super::client::Client;
use super::names::Names;
use super::words::Dialect;
use crate::durable;
use crate::lab::placement::Away;
use crate::machine::{Place, ProviderError, failed};

/// `vm/incus.json`
#[derive(Serialize, Deserialize)]
struct Record {
    client: String,
    /// What the client calls the servers, where they are not this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    remote: Option<String>,
    /// The project there, where it is not the servers' default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    project: Option<String>,
    /// Whether networks were begun on members of a cluster: until all have heard of one, it cannot be labelled.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    spreads: bool,
}

/// A daemon that answers.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The way to it.
    pub client: Client,
    /// What it says of itself, where it was asked.
    pub answering: Option<Answering>,
}

/// Remember the daemon that answers, or the one that was asked for, and give the way to it.
pub async fn begin(place: &Place, away: Option<&Away>) -> Result<Asked, ProviderError> {
    let names = Names::of(&place.label);
    let (asked, remote) = match away {
        None => {
            let client = Client::any().map_err(|(dialect, silence)| silence.error(dialect))?;
            (Asked { client, answering: None }, None)
        }
        Some(away) => {
            let answering = away::answering(&away.remote, None).await;
            let answering = answering.map_err(|(dialect, silence)| silence.error(dialect))?;
            // Where the user chose a project there, that is where he may work.
            let project = answering.client.project().unwrap_or(names.project()).to_owned();
            let client = answering.client.in_project(Some(&project));
            (Asked { client, answering: Some(answering) }, Some(away.remote.clone()))
        }
    };
    let client = asked.client.dialect.client.into();
    let project = asked.client.project().map(str::to_owned);
    write(place, &Record { client, remote, project, spreads: false })?;
    Ok(asked)
}

/// The way to the daemon that was asked for this cluster's machines; none if none was.
pub async fn asked(place: &Place) -> Result<Option<Asked>, ProviderError> {
    let Some((dialect, record)) = read(place)? else { return Ok(None) };
    let asked = match &record.remote {
        None => Client::of(dialect).map(|client| Asked { client, answering: None }).map_err(|why| (dialect, why)),
        Some(remote) => away::answering(remote, Some(dialect)).await.map(|answering| Asked {
            client: answering.client.in_project(record.project.as_deref()),
            answering: Some(answering),
        }),
    };
    asked.map(Some).map_err(|(dialect, silence)| silence.error(dialect))
}

/// The same without asking whether it answers.
pub fn client(place: &Place) -> Result<Option<Client>, ProviderError> {
    let Some((dialect, record)) = read(place)? else { return Ok(None) };
    match &record.remote {
        None => Client::of(dialect).map(Some).map_err(|silence| silence.error(dialect)),
        Some(remote) => Ok(Some(Client::at(dialect, remote).in_project(record.project.as_deref()))),
    }
}

/// Whether networks of the cluster's names that bear no label yet are its own.
pub fn spreads(place: &Place) -> Result<bool, ProviderError> {
    Ok(read(place)?.is_some_and(|(_, record)| record.spreads))
}

/// Remember that networks are begun on members of a cluster.
pub fn will_spread(place: &Place) -> Result<(), ProviderError> {
    match read(place)? {
        Some((_, record)) => write(place, &Record { spreads: true, ..record }),
        None => Ok(()),
    }
}

impl Asked {
    /// What the daemon says of itself; asked only where it was not yet.
    pub async fn server(&self) -> Result<Server, ProviderError> {
        match &self.answering {
            Some(answering) => Ok(answering.server.clone()),
            None => self.client.get("/1.0").await,
        }
    }
}

fn read(place: &Place) -> Result<Option<(&'static Dialect, Record)>, ProviderError> {
    let path = path(place);
    let text = match std::fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text.map_err(failed("reading", &path))?,
    };
    let record = serde_json::from_slice::<Record>(&text).ok();
    let known = record.and_then(|record| Some((Dialect::with_client(&record.client)?, record)));
    let unknown = || io::Error::new(io::ErrorKind::InvalidData, "it names no client of Incus or LXD");
    known.ok_or_else(unknown).map(Some).map_err(failed("reading", &path))
}

fn write(place: &Place, record: &Record) -> Result<(), ProviderError> {
    let path = path(place);
    let text = serde_json::to_vec(record).expect("a record is JSON");
    durable::private_folder(&place.folder.join("vm"))
        .and_then(|()| durable::write(&path, &text, 0o600))
        .map_err(failed("writing", &path))
}

fn path(place: &Place) -> PathBuf {
    place.folder.join("vm").join("incus.json")
}
