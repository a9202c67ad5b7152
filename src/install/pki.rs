//! One certificate authority a cluster, and what is made by it for its datastore and for Kubernetes, once.

mod authority;
mod etcd;
mod expired;
mod kubernetes;

use std::path::{Path, PathBuf};

use jiff::civil::Date;
use openssl::rsa::Rsa;
use rcgen::{KeyPair, PublicKeyData as _};
use sha2::{Digest as _, Sha256};

use crate::durable;
use crate::lab::calico::{EtcdClient, wants_client};
use crate::lab::file::Installer;
use crate::lab::name::{NodeName, PerNode};
use crate::lab::pin;
use crate::lab::plan::Plan;
use crate::lab::render::Join;
use authority::{BOTH, CLIENT, Certificate, authority, until};
pub use expired::expired_etcd;

/// How long certificates are good: longer than any lab lives, short enough that a leaked one dies.
const YEARS: i32 = 2;
/// How long those are good that kubeadm makes.
const YEARS_OF_KUBEADM: i32 = 1;
/// The file that says until when.
const UNTIL: &str = "until";
/// The file with the token by which nodes join.
const TOKEN: &str = "token";

/// A certificate and its key, both PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// The private key, PKCS#8.
    pub key: String,
}

/// What the nodes of a cluster need to trust each other.
pub struct Pki {
    /// The authority's certificate.
    pub authority: String,
    /// What there is beside it.
    pub made: Made,
    /// Each member's own of the lab's etcd, with every name and address under which it is reached.
    pub members: PerNode<Option<Pair>>,
    /// Those of who asks that etcd, where Kubernetes does.
    pub clients: Option<EtcdClients>,
}

/// Who may ask an etcd that stands beside Kubernetes.
pub struct EtcdClients {
    /// The API server's.
    pub api: Pair,
    /// Calico's, where it keeps its data there: every node has it.
    pub calico: Option<Pair>,
}

/// Who makes certificates by the authority.
pub enum Made {
    /// This host, all of them; the authority's key stays here.
    Here(Issued),
    /// kubeadm, on the master.
    There(Kubeadm),
}

/// The certificates made on this host.
pub struct Issued {
    /// One client certificate a node; with Kubernetes its kubelet's, by which it also serves.
    pub nodes: PerNode<Pair>,
    /// What Kubernetes has beside it.
    pub kubernetes: Option<Kubernetes>,
}

/// What kubeadm has of the cluster's secrets.
pub struct Kubeadm {
    /// The authority's key, for the master alone: kubeadm and the controllers of Kubernetes issue certificates there.
    pub authority_key: String,
    /// By what nodes join.
    pub join: Join,
}

/// The certificates of Kubernetes' own programs.
pub struct Kubernetes {
    /// kube-proxy's client certificate, the same on all nodes.
    pub proxy: Pair,
    /// What the master alone has, each under the name of its files: the API server's own, and those of its clients.
    pub master: Vec<(&'static str, Pair)>,
    /// What service accounts' tokens are signed with: the public half in place of a certificate.
    pub service_accounts: Pair,
}

/// Why there are no certificates.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A certificate could not be made.
    #[error("the certificate of {of} could not be made")]
    Make {
        /// Whose.
        of: String,
        /// The library's reason.
        source: rcgen::Error,
    },
    /// A key of the older kind could not be made.
    #[error("the key of service accounts could not be made")]
    Rsa {
        /// The library's reason.
        source: openssl::error::ErrorStack,
    },
    /// A file could not be written or read.
    #[error("`{}` could not be written or read", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

impl Pki {
    /// Read the certificates in `folder`, or make all of them; the folder appears whole or not at all.
    pub fn ensure(folder: &Path, plan: &Plan) -> Result<Self, PkiError> {
        if !folder.exists() {
            make(folder, plan, today())?;
        }
        let made = if plan.installer == Installer::Kubeadm {
            Made::There(kubeadm(folder)?)
        } else {
            Made::Here(issued(folder, plan)?)
        };
        let member = |node: &NodeName| {
            if plan.installer.has_kubernetes() {
                etcd::wanted(plan) && plan.etcd_members().any(|member| member == node)
            } else {
                *node == plan.master
            }
        };
        let members = plan
            .nodes
            .try_map(|node, _| member(node).then(|| pair(folder, &etcd::of_member(plan, node))).transpose())?;
        let clients = etcd::wanted(plan).then(|| {
            let calico = wants_client(plan).then(|| pair(folder, etcd::CALICO_FILE)).transpose()?;
            Ok(EtcdClients { api: pair(folder, etcd::CLIENT_FILE)?, calico })
        });
        Ok(Self { authority: read(&folder.join("ca.crt"))?, made, members, clients: clients.transpose()? })
    }

    /// What Calico shows to the lab's etcd, where it keeps its data there.
    pub fn calico(&self) -> Option<EtcdClient<'_>> {
        let own = self.clients.as_ref()?.calico.as_ref()?;
        Some(EtcdClient { ca: &self.authority, cert: &own.certificate, key: &own.key })
    }

    /// By what nodes join, where kubeadm makes the cluster.
    pub fn join(&self) -> Option<&Join> {
        match &self.made {
            Made::Here(_) => None,
            Made::There(kubeadm) => Some(&kubeadm.join),
        }
    }

    /// The day until which the certificates in `folder` are good, if they were made.
    pub fn good_until(folder: &Path) -> Option<Date> {
        std::fs::read_to_string(folder.join(UNTIL)).ok()?.trim().parse().ok()
    }

    /// The certificates in `folder` if they have ended by this day.
    pub fn ended(folder: &Path, today: Date) -> Option<Ended> {
        // They end when that day begins.
        let day = Self::good_until(folder).filter(|day| *day <= today)?;
        let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut of: Vec<String> = files
            .filter_map(|file| Some(file.file_name().to_str()?.strip_suffix(".crt")?.to_owned()))
            .filter(|name| name != kubernetes::SERVICE_ACCOUNTS)
            .collect();
        of.sort();
        Some(Ended { of, day })
    }
}

/// Certificates that are good no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The names of their files, without `.crt`.
    pub of: Vec<String>,
    /// The day from whose beginning on they are not good.
    pub day: Date,
}

/// The day it is by this host's clock, in UTC as certificates have it.
pub fn today() -> Date {
    jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date()
}

/// The name of a node's files. With Kubernetes other files stand beside them whose names a node may have.
fn of_node(plan: &Plan, node: &NodeName) -> String {
    if plan.installer.has_kubernetes() { format!("node.{node}") } else { node.to_string() }
}

fn pair(folder: &Path, name: &str) -> Result<Pair, PkiError> {
    let part = |end: &str| read(&folder.join(format!("{name}.{end}")));
    Ok(Pair { certificate: part("crt")?, key: part("key")? })
}

fn issued(folder: &Path, plan: &Plan) -> Result<Issued, PkiError> {
    let pair = |name: &str| pair(folder, name);
    let kubernetes = if plan.installer.has_kubernetes() {
        Some(Kubernetes {
            proxy: pair(kubernetes::PROXY)?,
            master: kubernetes::MASTER.iter().map(|name| Ok((*name, pair(name)?))).collect::<Result<_, _>>()?,
            service_accounts: pair(kubernetes::SERVICE_ACCOUNTS)?,
        })
    } else {
        None
    };
    let nodes = plan.nodes.try_map(|node, _| pair(&of_node(plan, node)))?;
    Ok(Issued { nodes, kubernetes })
}

fn kubeadm(folder: &Path) -> Result<Kubeadm, PkiError> {
    let authority_key = read(&folder.join("ca.key"))?;
    let failed = |source| PkiError::Make { of: "nodes that join".into(), source };
    let public = KeyPair::from_pem(&authority_key).map_err(failed)?.subject_public_key_info();
    let authority = pin::Digest::Sha256(Sha256::digest(public).into()).hex();
    Ok(Kubeadm { authority_key, join: Join { token: read(&folder.join(TOKEN))?, authority } })
}

/// A token in kubeadm's form: a public part, and one that nobody guesses.
fn token() -> String {
    let mut bytes = [0; 22];
    getrandom::fill(&mut bytes).expect("the kernel's random source does not fail for a few bytes");
    // 256 is a multiple of 32: no letter is likelier than another.
    let letters = bytes.map(|byte| char::from(b"abcdefghijklmnopqrstuvwxyz234567"[usize::from(byte) % 32]));
    let (id, secret) = letters.split_at(6);
    format!("{}.{}", id.iter().collect::<String>(), secret.iter().collect::<String>())
}

fn read(path: &Path) -> Result<String, PkiError> {
    std::fs::read_to_string(path).map_err(|source| PkiError::File { path: path.into(), source })
}

/// Make everything in a folder beside, then give it its name: a run killed half-way leaves nothing to trust.
fn make(folder: &Path, plan: &Plan, today: Date) -> Result<(), PkiError> {
    let beside = folder.with_extension("new");
    let file = |source| PkiError::File { path: beside.clone(), source };
    match std::fs::remove_dir_all(&beside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(file(error)),
        _ => {}
    }
    durable::private_folder(&beside).map_err(file)?;
    let put = |name: &str, text: &str| {
        let path = beside.join(name);
        durable::write(&path, text.as_bytes(), 0o600).map_err(|source| PkiError::File { path, source })
    };
    let authority = authority(plan, today)?;
    put("ca.crt", &authority.certificate)?;
    put("ca.key", &authority.key_pem)?;
    let years = match plan.installer {
        Installer::Kubeadm => YEARS_OF_KUBEADM,
        _ => YEARS,
    };
    put(UNTIL, &format!("{}\n", until(today, years)))?;
    if plan.installer == Installer::Kubeadm {
        put(TOKEN, &token())?;
    }
    let mut pairs = Vec::new();
    let mut all = match plan.installer {
        // It issues all others itself.
        Installer::Kubeadm => Vec::new(),
        Installer::Primer => primer(plan),
        Installer::Binaries | Installer::Coreos => {
            let key = if plan.installer == Installer::Coreos { rsa() } else { curve() };
            pairs.push((kubernetes::SERVICE_ACCOUNTS.to_owned(), key?));
            kubernetes::certificates(plan)
        }
    };
    all.extend(etcd::certificates(plan));
    for one in all {
        pairs.push((one.file.clone(), authority.issue(&one)?));
    }
    for (name, pair) in pairs {
        put(&format!("{name}.crt"), &pair.certificate)?;
        put(&format!("{name}.key"), &pair.key)?;
    }
    std::fs::rename(&beside, folder).and_then(|()| durable::sync_folder(folder)).map_err(file)
}

/// A key pair that signs.
fn curve() -> Result<Pair, PkiError> {
    let key = KeyPair::generate().map_err(|source| PkiError::Make { of: "service accounts".into(), source })?;
    Ok(Pair { certificate: key.public_key_pem(), key: key.serialize_pem() })
}

/// The same as Kubernetes wants it until 1.9: tokens were signed by RSA alone.
fn rsa() -> Result<Pair, PkiError> {
    let made = Rsa::generate(2048).and_then(|key| Ok((key.public_key_to_pem()?, key.private_key_to_pem()?)));
    let (public, private) = made.map_err(|source| PkiError::Rsa { source })?;
    let text = |pem: Vec<u8>| String::from_utf8(pem).expect("PEM is ASCII");
    Ok(Pair { certificate: text(public), key: text(private) })
}

/// The datastore's own, of a cluster without Kubernetes.
fn datastore(plan: &Plan) -> Certificate {
    let (master, api) = (plan.master_node().address.to_string(), plan.network.api.to_string());
    let names = [plan.master.as_str(), &plan.network.api_name, "localhost", &master, &api, "127.0.0.1"];
    Certificate {
        file: "etcd".into(),
        common_name: "etcd".into(),
        group: None,
        names: names.map(str::to_owned).into(),
        purposes: BOTH,
    }
}

/// Those of a cluster without Kubernetes: etcd's, and one client of it a node.
fn primer(plan: &Plan) -> Vec<Certificate> {
    let client = |node: &NodeName| Certificate {
        file: of_node(plan, node),
        common_name: format!("calico-node:{node}"),
        group: None,
        names: Vec::new(),
        purposes: CLIENT,
    };
    std::iter::once(datastore(plan)).chain(plan.nodes.names().map(client)).collect()
}

#[cfg(test)]
mod tests;
