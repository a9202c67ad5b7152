//! What lets a client into the cluster: read from the master's own kubeconfig, and written as entries of another.

use serde::Deserialize;
use serde_json::{Value, json};

use super::kube;
use crate::command::Argv;

/// Who signed the API server's certificate, and what the administrator shows; each PEM in base64, as kubeconfigs have it.
#[derive(Clone, PartialEq, Eq)]
pub struct Access {
    /// The authority's certificate.
    pub authority: String,
    /// The administrator's certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

/// An answer that lets nobody in. What is none may hold a key all the same, so none of it is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the master's own kubeconfig has no authority, certificate and key of an administrator")]
pub struct NoAccess;

/// The administrator's kubeconfig on the master, with what it refers to inside it.
pub fn ask() -> Argv {
    kube::words(["config", "view", "--raw", "--flatten", "--minify", "-o", "json"])
}

impl Access {
    /// Read the answer to [`ask`].
    pub fn parse(text: &str) -> Result<Self, NoAccess> {
        #[derive(Deserialize)]
        struct Config {
            clusters: Vec<Cluster>,
            users: Vec<User>,
        }
        #[derive(Deserialize)]
        struct Cluster {
            cluster: Authority,
        }
        #[derive(Deserialize)]
        struct Authority {
            #[serde(rename = "certificate-authority-data")]
            data: String,
        }
        #[derive(Deserialize)]
        struct User {
            user: Pair,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case")]
        struct Pair {
            client_certificate_data: String,
            client_key_data: String,
        }
        let config: Config = serde_json::from_str(text).map_err(|_| NoAccess)?;
        let (mut clusters, mut users) = (config.clusters.into_iter(), config.users.into_iter());
        let (cluster, user) = clusters.next().zip(users.next()).ok_or(NoAccess)?;
        let Pair { client_certificate_data: certificate, client_key_data: key } = user.user;
        Ok(Self { authority: cluster.cluster.data, certificate, key })
    }
}

/// Where the API server is reached from this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// `https://ADDRESS:PORT`.
    pub url: String,
    /// The name that its certificate is to have, where it does not have the address.
    pub named: Option<String>,
}

/// The three entries of a kubeconfig by which a cluster is reached, all under one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Entries {
    /// Their name.
    pub name: String,
    /// For `clusters`, `users` and `contexts`, in this order.
    pub values: [Value; 3],
}

/// The lists of a kubeconfig in the order of [`Entries::values`].
pub const LISTS: [&str; 3] = ["clusters", "users", "contexts"];

/// The extension by which entries of ours are known.
const OURS: &str = "calicolab";

impl Entries {
    /// The entries of `cluster`, which `home` remembers.
    pub fn of(cluster: &str, home: &str, server: &Server, access: &Access) -> Self {
        let name = format!("calicolab-{cluster}");
        let mark = json!([{"name": OURS, "extension": {"cluster": cluster, "home": home}}]);
        let mut reached = json!({"server": server.url, "certificate-authority-data": access.authority});
        if let Some(named) = &server.named {
            reached["tls-server-name"] = named.as_str().into();
        }
        reached["extensions"] = mark.clone();
        let user =
            json!({"client-certificate-data": access.certificate, "client-key-data": access.key, "extensions": mark});
        let context = json!({"cluster": name, "user": name, "extensions": mark});
        let values = [
            json!({"name": name, "cluster": reached}),
            json!({"name": name, "user": user}),
            json!({"name": name, "context": context}),
        ];
        Self { name, values }
    }

    /// A kubeconfig with nothing but these.
    pub fn alone(&self) -> Value {
        let [cluster, user, context] = &self.values;
        json!({"apiVersion": "v1", "kind": "Config", "clusters": [cluster], "users": [user], "contexts": [context],
            "current-context": self.name})
    }
}

/// Whether an entry of one of [`LISTS`] is of `home`'s cluster `cluster`, by our own mark.
pub fn is_ours(entry: &Value, cluster: &str, home: &str) -> bool {
    let inside = ["cluster", "user", "context"].iter().find_map(|key| entry.get(*key)?.get("extensions"));
    let marks = inside.and_then(Value::as_array).into_iter().flatten();
    let mut marks = marks.filter(|mark| mark["name"] == OURS);
    marks.any(|mark| mark["extension"]["cluster"] == cluster && mark["extension"]["home"] == home)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// As a master of 1.20 says it.
    pub const SAID: &str = r#"{"kind": "Config", "apiVersion": "v1", "preferences": {},
        "clusters": [{"name": "demo", "cluster": {"server": "https://198.18.7.11:6443", "certificate-authority-data": "Y2E="}}],
        "users": [{"name": "kubernetes-admin", "user": {"client-certificate-data": "Y2VydA==", "client-key-data": "a2V5"}}],
        "contexts": [{"name": "x", "context": {"cluster": "demo", "user": "kubernetes-admin"}}], "current-context": "x"}"#;

    pub fn entries(cluster: &str) -> Entries {
        let server = Server { url: "https://10.64.3.11:6443".into(), named: Some("kubernetes.default.svc".into()) };
        Entries::of(cluster, "/home/me/calicolab", &server, &Access::parse(SAID).expect("a kubeconfig"))
    }

    #[test]
    fn the_administrator_is_read_and_what_is_none_is_not_repeated() {
        let access = Access::parse(SAID).expect("a kubeconfig");
        assert_eq!(
            (access.authority.as_str(), access.certificate.as_str(), access.key.as_str()),
            ("Y2E=", "Y2VydA==", "a2V5")
        );
        for text in ["", "{}", "secret", &SAID.replace("client-key-data", "client-key")] {
            let error = Access::parse(text).err().expect(text).to_string();
            assert!(!error.contains("secret") && !error.contains("a2V5"), "{error}");
        }
    }

    #[test]
    fn entries_say_whose_they_are() {
        let entries = entries("demo");
        assert_eq!(entries.name, "calicolab-demo");
        assert_eq!(entries.values[0]["cluster"]["tls-server-name"], "kubernetes.default.svc");
        assert_eq!(entries.alone()["current-context"], "calicolab-demo");
        for entry in &entries.values {
            assert!(is_ours(entry, "demo", "/home/me/calicolab"), "{entry}");
            assert!(!is_ours(entry, "demo", "/home/you/calicolab") && !is_ours(entry, "other", "/home/me/calicolab"));
        }
        assert!(!is_ours(&json!({"name": "calicolab-demo", "context": {}}), "demo", "/home/me/calicolab"));
    }
}
