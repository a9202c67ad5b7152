//! Which daemon a cluster's machines were asked of: written before the first of them is.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::client::Client;
use super::failed;
use super::words::Dialect;
use crate::durable;
use crate::machine::incus::host;
use crate::machine::{Place, ProviderError};

/// `vm/incus.json`
#[derive(Serialize, Deserialize)]
struct Record {
    client: String,
}

/// Remember the daemon that answers, and give the way to it.
pub fn begin(place: &Place) -> Result<Client, ProviderError> {
    let client = Client::any().map_err(|(dialect, silence)| silent(dialect, &silence))?;
    let path = path(place);
    let text = serde_json::to_vec(&Record { client: client.dialect.client.into() }).expect("a record is JSON");
    durable::private_folder(&place.folder.join("vm"))
        .and_then(|()| durable::write(&path, &text, 0o600))
        .map_err(failed("writing", &path))?;
    Ok(client)
}

/// The way to the daemon that was asked for this cluster's machines; none if none was.
pub fn client(place: &Place) -> Result<Option<Client>, ProviderError> {
    let path = path(place);
    let text = match std::fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text.map_err(failed("reading", &path))?,
    };
    let dialect = serde_json::from_slice::<Record>(&text).ok().and_then(|record| Dialect::with_client(&record.client));
    let unknown = || io::Error::new(io::ErrorKind::InvalidData, "it names no client of Incus or LXD");
    let dialect = dialect.ok_or_else(unknown).map_err(failed("reading", &path))?;
    Client::of(dialect).map(Some).map_err(|silence| silent(dialect, &silence))
}

fn silent(dialect: &'static Dialect, silence: &super::client::Silence) -> ProviderError {
    let lack = host::lack(dialect, silence);
    ProviderError::Silent { why: format!("{} ({})", lack.what, lack.remedy) }
}

fn path(place: &Place) -> PathBuf {
    place.folder.join("vm").join("incus.json")
}
