//! Servers that the client knows by a name: where they are, whether they answer, and whether they trust this user.

use std::collections::BTreeMap;
use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use serde::Deserialize;

use super::answer::Server;
use super::client::{Client, Silence};
use super::words::{ALL, Dialect};
use crate::command;
use crate::machine::ProviderError;

/// How long a server on the way to which nothing is wrong may take to accept a connection.
const ANSWER: Duration = Duration::from_secs(5);

/// One of what `remote list` says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Remote {
    /// `https://198.51.100.7:8443`, `unix://`
    addr: String,
    /// The project that the client asks for there; `default` or empty if none was chosen.
    project: String,
    /// `lxd` or `incus`; empty for this host's own daemon; else it is no daemon.
    protocol: String,
}

impl Remote {
    /// The project that the user chose for it.
    fn project(&self) -> Option<&str> {
        Some(self.project.as_str()).filter(|project| !project.is_empty() && *project != "default")
    }

    /// Host and port; none of a socket of this host.
    fn place(&self) -> Option<(String, u16)> {
        let url = reqwest::Url::parse(&self.addr).ok().filter(|url| url.scheme() == "https")?;
        Some((url.host_str()?.trim_matches(['[', ']']).to_owned(), url.port_or_known_default()?))
    }

    fn makes_instances(&self) -> bool {
        matches!(self.protocol.as_str(), "" | "lxd" | "incus")
    }
}

/// A remote that answers and trusts this user.
#[derive(Clone, Debug)]
pub struct Answering {
    /// The way to it, in the project that the user chose for it.
    pub client: Client,
    /// What it says of itself.
    pub server: Server,
    /// The address by which it is reached from here; none of a socket of this host.
    pub address: Option<IpAddr>,
}

/// Find the remote `name`; why it cannot be used if it cannot. `of` is the one project whose remotes are meant, if it is
/// known already.
pub async fn answering(name: &str, of: Option<&'static Dialect>) -> Result<Answering, (&'static Dialect, Silence)> {
    let (dialect, remote) = known(name, of).await?;
    let silent = |silence| (dialect, silence);
    if !remote.makes_instances() {
        return Err(silent(Silence::NoServer(name.into())));
    }
    let mut address = None;
    if let Some((host, port)) = remote.place() {
        let unreachable =
            |why: String| silent(Silence::Unreachable { remote: name.into(), at: remote.addr.clone(), why });
        let connecting = tokio::net::TcpStream::connect((host, port));
        let connected = tokio::time::timeout(ANSWER, connecting).await;
        let connected = connected.map_err(|_| unreachable(format!("no answer in {} s", ANSWER.as_secs())))?;
        let peer = connected.and_then(|stream| stream.peer_addr());
        address = Some(peer.map_err(|error| unreachable(error.to_string()))?.ip());
    }
    let client = Client::at(dialect, name).in_project(remote.project());
    let server: Server =
        client.get("/1.0").await.map_err(|error| silent(Silence::Refused(name.into(), said(&error))))?;
    if server.auth != "trusted" {
        return Err(silent(Silence::Untrusted { remote: name.into(), at: remote.addr }));
    }
    Ok(Answering { client, server, address })
}

/// The remote of this name of the first client that knows it.
async fn known(
    name: &str,
    of: Option<&'static Dialect>,
) -> Result<(&'static Dialect, Remote), (&'static Dialect, Silence)> {
    let mut others = Vec::new();
    let mut last = None;
    for dialect in ALL.into_iter().filter(|one| of.is_none_or(|of| of == *one)) {
        if command::find(dialect.client).is_none() {
            continue;
        }
        last = Some(dialect);
        let listed = Client::at(dialect, name).text(&["remote", "list", "--format", "json"]).await;
        let listed = listed.map_err(|error| (dialect, Silence::Refused(name.into(), said(&error))))?;
        let all = remotes(&listed);
        if let Some(found) = all.get(name) {
            return Ok((dialect, found.clone()));
        }
        others.extend(all.into_iter().filter(|(_, remote)| remote.makes_instances()).map(|(name, _)| name));
    }
    Err(match last {
        None => (of.unwrap_or(ALL[ALL.len() - 1]), Silence::NoClient),
        Some(dialect) => (dialect, Silence::NoRemote { remote: name.into(), others }),
    })
}

fn remotes(listed: &str) -> BTreeMap<String, Remote> {
    serde_json::from_str(listed).unwrap_or_default()
}

/// The client's own words, which stand at the end of what it wrote.
fn said(error: &ProviderError) -> String {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    cause.unwrap_or_else(|| error.to_string())
}

/// Whether an address is this host's own: only those can be listened at.
pub fn is_here(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the client of LXD 5.0.2 printed.
    const LISTED: &str = r#"{
        "class":{"Addr":"https://198.51.100.7:8443","AuthType":"tls","Domain":"","Project":"team","Protocol":"lxd","Public":false,"Global":false,"Static":false},
        "six":{"Addr":"https://[2001:db8::7]:8443","Project":"default","Protocol":"incus"},
        "images":{"Addr":"https://images.example","AuthType":"","Domain":"","Project":"","Protocol":"simplestreams","Public":true,"Global":false,"Static":false},
        "local":{"Addr":"unix://","AuthType":"","Domain":"","Project":"","Protocol":"","Public":false,"Global":false,"Static":true}}"#;

    #[test]
    fn remotes_are_read_as_the_client_lists_them() {
        let all = remotes(LISTED);
        let told =
            |name: &str| (all[name].place(), all[name].project().map(str::to_owned), all[name].makes_instances());
        assert_eq!(told("class"), (Some(("198.51.100.7".into(), 8443)), Some("team".into()), true));
        assert_eq!(told("six"), (Some(("2001:db8::7".into(), 8443)), None, true));
        assert_eq!(told("local"), (None, None, true));
        assert!(!all["images"].makes_instances());
        assert!(remotes("no JSON").is_empty());
    }

    #[test]
    fn an_address_is_here_or_elsewhere() {
        assert!(is_here([127, 0, 0, 1].into()));
        // Kept for documentation.
        assert!(!is_here([192, 0, 2, 1].into()));
    }
}
