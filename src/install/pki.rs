//! One certificate authority a cluster, and the certificates of its datastore, made once.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::durable;
use crate::lab::name::PerNode;
use crate::lab::plan::Plan;

/// How long certificates are good: longer than any lab lives, short enough that a leaked one dies.
const YEARS: i32 = 2;

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
    /// The authority's certificate; its key stays on the host.
    pub authority: String,
    /// etcd's own, with every name and address under which it is reached.
    pub etcd: Pair,
    /// One client certificate a node.
    pub nodes: PerNode<Pair>,
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
        let pair = |name: &str| -> Result<Pair, PkiError> {
            Ok(Pair {
                certificate: read(&folder.join(format!("{name}.crt")))?,
                key: read(&folder.join(format!("{name}.key")))?,
            })
        };
        Ok(Self {
            authority: read(&folder.join("ca.crt"))?,
            etcd: pair("etcd")?,
            nodes: plan.nodes.try_map(|node, _| pair(node.as_str()))?,
        })
    }
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
    let master = plan.master_node().address.to_string();
    let names = [
        plan.master.as_str(),
        &plan.network.api_name,
        "localhost",
        &master,
        &plan.network.api.to_string(),
        "127.0.0.1",
    ]
    .map(str::to_owned);
    let both = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let mut pairs = vec![("etcd".to_owned(), authority.issue("etcd", &names, &both)?)];
    for node in plan.nodes.names() {
        let client = [ExtendedKeyUsagePurpose::ClientAuth];
        pairs.push((node.to_string(), authority.issue(&format!("calico-node:{node}"), &[], &client)?));
    }
    for (name, pair) in pairs {
        put(&format!("{name}.crt"), &pair.certificate)?;
        put(&format!("{name}.key"), &pair.key)?;
    }
    std::fs::rename(&beside, folder).and_then(|()| durable::sync_folder(folder)).map_err(file)
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

impl Authority {
    fn issue(&self, of: &str, names: &[String], purposes: &[ExtendedKeyUsagePurpose]) -> Result<Pair, PkiError> {
        let failed = |source| PkiError::Make { of: of.into(), source };
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = params(of, names).map_err(failed)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = purposes.to_vec();
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?.pem();
        Ok(Pair { certificate, key: key.serialize_pem() })
    }
}

/// Good from yesterday on, since a machine's clock may be behind the host's.
fn params(common_name: &str, names: &[String]) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    params.distinguished_name = name;
    let today =
        jiff::Timestamp::try_from(SystemTime::now()).unwrap_or_default().to_zoned(jiff::tz::TimeZone::UTC).date();
    let date = |day: jiff::civil::Date| {
        let small = |number: i8| u8::try_from(number).expect("days and months are positive");
        rcgen::date_time_ymd(day.year().into(), small(day.month()), small(day.day()))
    };
    params.not_before = date(today.yesterday().unwrap_or(today));
    params.not_after = date(today.saturating_add(jiff::Span::new().years(YEARS)));
    Ok(params)
}
