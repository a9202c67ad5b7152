//! One certificate authority a cluster, and what is made by it for its datastore and for Kubernetes, once.

mod kubernetes;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData as _,
};
use sha2::{Digest as _, Sha256};

use crate::durable;
use crate::lab::file::Installer;
use crate::lab::name::{NodeName, PerNode};
use crate::lab::pin;
use crate::lab::plan::Plan;
use crate::lab::render::Join;

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
    /// etcd's own, with every name and address under which it is reached.
    pub etcd: Pair,
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
            make(folder, plan)?;
        }
        let made = if plan.installer == Installer::Kubeadm {
            Made::There(kubeadm(folder)?)
        } else {
            Made::Here(issued(folder, plan)?)
        };
        Ok(Self { authority: read(&folder.join("ca.crt"))?, made })
    }

    /// By what nodes join, where kubeadm makes the cluster.
    pub fn join(&self) -> Option<&Join> {
        match &self.made {
            Made::Here(_) => None,
            Made::There(kubeadm) => Some(&kubeadm.join),
        }
    }

    /// The day until which the certificates in `folder` are good, if they were made.
    pub fn good_until(folder: &Path) -> Option<jiff::civil::Date> {
        std::fs::read_to_string(folder.join(UNTIL)).ok()?.trim().parse().ok()
    }
}

/// The name of a node's files. With Kubernetes other files stand beside them whose names a node may have.
fn of_node(plan: &Plan, node: &NodeName) -> String {
    if plan.installer.has_kubernetes() { format!("node.{node}") } else { node.to_string() }
}

fn issued(folder: &Path, plan: &Plan) -> Result<Issued, PkiError> {
    let pair = |name: &str| -> Result<Pair, PkiError> {
        let part = |end: &str| read(&folder.join(format!("{name}.{end}")));
        Ok(Pair { certificate: part("crt")?, key: part("key")? })
    };
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
    Ok(Issued { etcd: pair("etcd")?, nodes, kubernetes })
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
fn make(folder: &Path, plan: &Plan) -> Result<(), PkiError> {
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
    let authority = authority(plan)?;
    put("ca.crt", &authority.certificate)?;
    put("ca.key", &authority.key_pem)?;
    let years = match plan.installer {
        Installer::Kubeadm => YEARS_OF_KUBEADM,
        _ => YEARS,
    };
    put(UNTIL, &format!("{}\n", until(today(), years)))?;
    if plan.installer == Installer::Kubeadm {
        put(TOKEN, &token())?;
    }
    let mut pairs = Vec::new();
    let all = match plan.installer {
        // It issues all of them itself.
        Installer::Kubeadm => Vec::new(),
        Installer::Primer => primer(plan),
        Installer::Binaries | Installer::Coreos => {
            pairs.push((kubernetes::SERVICE_ACCOUNTS.to_owned(), service_accounts()?));
            kubernetes::certificates(plan)
        }
    };
    for one in all {
        pairs.push((one.file.clone(), authority.issue(&one)?));
    }
    for (name, pair) in pairs {
        put(&format!("{name}.crt"), &pair.certificate)?;
        put(&format!("{name}.key"), &pair.key)?;
    }
    std::fs::rename(&beside, folder).and_then(|()| durable::sync_folder(folder)).map_err(file)
}

fn service_accounts() -> Result<Pair, PkiError> {
    let key = KeyPair::generate().map_err(|source| PkiError::Make { of: "service accounts".into(), source })?;
    Ok(Pair { certificate: key.public_key_pem(), key: key.serialize_pem() })
}

struct Authority {
    certificate: String,
    key_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

fn authority(plan: &Plan) -> Result<Authority, PkiError> {
    let of = || format!("the authority of {}", plan.cluster);
    let failed = |source| PkiError::Make { of: of(), source };
    let key = KeyPair::generate().map_err(failed)?;
    let mut params = params(&of(), &[]).map_err(failed)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key).map_err(failed)?.pem();
    Ok(Authority { certificate, key_pem: key.serialize_pem(), issuer: Issuer::new(params, key) })
}

/// A certificate to be made.
struct Certificate {
    /// The name of its files.
    file: String,
    /// Whom it names.
    common_name: String,
    /// The group that Kubernetes counts it to.
    group: Option<&'static str>,
    /// Names and addresses under which its owner is reached.
    names: Vec<String>,
    /// What it is for.
    purposes: &'static [ExtendedKeyUsagePurpose],
}

const CLIENT: &[ExtendedKeyUsagePurpose] = &[ExtendedKeyUsagePurpose::ClientAuth];
const BOTH: &[ExtendedKeyUsagePurpose] = &[ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];

/// Those of a cluster without Kubernetes: etcd's, and one client of it a node.
fn primer(plan: &Plan) -> Vec<Certificate> {
    let (master, api) = (plan.master_node().address.to_string(), plan.network.api.to_string());
    let names = [plan.master.as_str(), &plan.network.api_name, "localhost", &master, &api, "127.0.0.1"];
    let etcd = Certificate {
        file: "etcd".into(),
        common_name: "etcd".into(),
        group: None,
        names: names.map(str::to_owned).into(),
        purposes: BOTH,
    };
    let client = |node: &NodeName| Certificate {
        file: of_node(plan, node),
        common_name: format!("calico-node:{node}"),
        group: None,
        names: Vec::new(),
        purposes: CLIENT,
    };
    std::iter::once(etcd).chain(plan.nodes.names().map(client)).collect()
}

impl Authority {
    fn issue(&self, wanted: &Certificate) -> Result<Pair, PkiError> {
        let failed = |source| PkiError::Make { of: wanted.common_name.clone(), source };
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = params(&wanted.common_name, &wanted.names).map_err(failed)?;
        if let Some(group) = wanted.group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = wanted.purposes.to_vec();
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?.pem();
        Ok(Pair { certificate, key: key.serialize_pem() })
    }
}

fn today() -> jiff::civil::Date {
    jiff::Timestamp::try_from(SystemTime::now()).unwrap_or_default().to_zoned(jiff::tz::TimeZone::UTC).date()
}

fn until(today: jiff::civil::Date, years: i32) -> jiff::civil::Date {
    today.saturating_add(jiff::Span::new().years(years))
}

/// Good from yesterday on, since a machine's clock may be behind the host's.
fn params(common_name: &str, names: &[String]) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    params.distinguished_name = name;
    let today = today();
    let date = |day: jiff::civil::Date| {
        let small = |number: i8| u8::try_from(number).expect("days and months are positive");
        rcgen::date_time_ymd(day.year().into(), small(day.month()), small(day.day()))
    };
    params.not_before = date(today.yesterday().unwrap_or(today));
    params.not_after = date(until(today, YEARS));
    Ok(params)
}

#[cfg(test)]
mod tests;
