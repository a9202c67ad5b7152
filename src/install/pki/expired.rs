//! A certificate that ran out: what a lab is broken with on purpose.

use std::path::Path;

use rcgen::{Issuer, KeyPair};

use super::authority::{ca_params, sign};
use super::{PkiError, YEARS, datastore, read, today};
use crate::lab::plan::Plan;

/// etcd's certificate as it would be had it run out yesterday: by the authority in `folder` and for the key that etcd
/// has, so that no key travels.
pub fn expired_etcd(folder: &Path, plan: &Plan) -> Result<String, PkiError> {
    let failed = |source| PkiError::Make { of: "etcd, out of date".into(), source };
    let key = |name: &str| KeyPair::from_pem(&read(&folder.join(name))?).map_err(failed);
    let then = today().saturating_sub(jiff::Span::new().years(YEARS).days(1));
    let issuer = Issuer::new(ca_params(plan, then).map_err(failed)?, key("ca.key")?);
    sign(&datastore(plan), &key("etcd.key")?, &issuer, then).map_err(failed)
}
