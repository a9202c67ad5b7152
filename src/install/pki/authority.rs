//! The authority, and how it signs: keys, names, and from when to when a certificate is good.

use jiff::civil::Date;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use super::{Pair, PkiError, YEARS};
use crate::lab::plan::Plan;

/// An authority that can sign.
pub(super) struct Authority {
    /// Its own certificate.
    pub(super) certificate: String,
    /// Its key.
    pub(super) key_pem: String,
    issuer: Issuer<'static, KeyPair>,
    today: Date,
}

/// What a cluster's authority says of itself.
pub(super) fn ca_params(plan: &Plan, today: Date) -> Result<CertificateParams, rcgen::Error> {
    let mut params = params(&format!("the authority of {}", plan.cluster), &[], today)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

/// A new one, as it is made on that day.
pub(super) fn authority(plan: &Plan, today: Date) -> Result<Authority, PkiError> {
    let failed = |source| PkiError::Make { of: format!("the authority of {}", plan.cluster), source };
    let key = KeyPair::generate().map_err(failed)?;
    let params = ca_params(plan, today).map_err(failed)?;
    let certificate = params.self_signed(&key).map_err(failed)?.pem();
    Ok(Authority { certificate, key_pem: key.serialize_pem(), issuer: Issuer::new(params, key), today })
}

/// A certificate to be made.
pub(super) struct Certificate {
    /// The name of its files.
    pub(super) file: String,
    /// Whom it names.
    pub(super) common_name: String,
    /// The group that Kubernetes counts it to.
    pub(super) group: Option<&'static str>,
    /// Names and addresses under which its owner is reached.
    pub(super) names: Vec<String>,
    /// What it is for.
    pub(super) purposes: &'static [ExtendedKeyUsagePurpose],
}

pub(super) const CLIENT: &[ExtendedKeyUsagePurpose] = &[ExtendedKeyUsagePurpose::ClientAuth];
pub(super) const BOTH: &[ExtendedKeyUsagePurpose] =
    &[ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];

impl Authority {
    /// A new key, and the certificate for it.
    pub(super) fn issue(&self, wanted: &Certificate) -> Result<Pair, PkiError> {
        let failed = |source| PkiError::Make { of: wanted.common_name.clone(), source };
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = sign(wanted, &key, &self.issuer, self.today).map_err(failed)?;
        Ok(Pair { certificate, key: key.serialize_pem() })
    }
}

/// A certificate for a key, as it is issued on that day.
pub(super) fn sign(
    wanted: &Certificate,
    key: &KeyPair,
    issuer: &Issuer<'static, KeyPair>,
    today: Date,
) -> Result<String, rcgen::Error> {
    let mut params = params(&wanted.common_name, &wanted.names, today)?;
    if let Some(group) = wanted.group {
        params.distinguished_name.push(DnType::OrganizationName, group);
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = wanted.purposes.to_vec();
    Ok(params.signed_by(key, issuer)?.pem())
}

/// The last day of that many years.
pub(super) fn until(today: Date, years: i32) -> Date {
    today.saturating_add(jiff::Span::new().years(years))
}

/// Good from yesterday on, since a machine's clock may be behind the host's.
fn params(common_name: &str, names: &[String], today: Date) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    params.distinguished_name = name;
    let date = |day: Date| {
        let small = |number: i8| u8::try_from(number).expect("days and months are positive");
        rcgen::date_time_ymd(day.year().into(), small(day.month()), small(day.day()))
    };
    params.not_before = date(today.yesterday().unwrap_or(today));
    params.not_after = date(until(today, YEARS));
    Ok(params)
}
