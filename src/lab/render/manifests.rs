//! Plan -> what the lab itself runs in its cluster: manifests, rendered strictly and parsed again.

use std::collections::BTreeMap;

use minijinja::Value;
use serde::Serialize;

use super::{RenderError, environment, seen, template_error};
use crate::lab::builtin::Library;
use crate::lab::file::Installer;
use crate::lab::pin::Source;
use crate::lab::plan::Plan;
use crate::lab::problem::{Problem, Problems};
use crate::lab::tree;

#[cfg(test)]
mod tests;

/// One of our own manifests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddOn {
    /// The namespace that the others are in.
    Namespace,
    /// The cluster's DNS, where the installer brings none.
    Dns,
    /// A pod on every node.
    Probe,
    /// A service with two backends.
    Backends,
    /// The policy that denies the backends to all.
    Deny,
    /// The policy that allows them to the probes.
    Allow,
    /// DNS as it was in 2015.
    SkyDns,
    /// The web page of 2015.
    KubeUi,
    /// A pod to look names up from, as the tutorials of 2016 had it.
    Busybox,
}

impl AddOn {
    /// The name of its file, without the ending.
    pub fn name(self) -> &'static str {
        let (_, file) = self.template().rsplit_once('/').unwrap_or_default();
        file.trim_end_matches(".yaml")
    }

    fn template(self) -> &'static str {
        match self {
            Self::Namespace => "manifests/namespace.yaml",
            Self::Dns => "manifests/dns.yaml",
            Self::Probe => "manifests/probe.yaml",
            Self::Backends => "manifests/backends.yaml",
            Self::Deny => "manifests/deny.yaml",
            Self::Allow => "manifests/allow.yaml",
            Self::SkyDns => "manifests/coreos/skydns.yaml",
            Self::KubeUi => "manifests/coreos/kube-ui.yaml",
            Self::Busybox => "manifests/coreos/busybox.yaml",
        }
    }
}

/// All that a lab of this installer may have of them, in the order in which it would be applied, but for the policies;
/// what installing applies is [`add_ons`].
pub fn manifests(plan: &Plan, library: &Library) -> Result<Vec<(AddOn, String)>, RenderError> {
    use AddOn::{Backends, Busybox, Dns, KubeUi, Namespace, Probe, SkyDns};
    let wanted = match plan.installer {
        Installer::Coreos => &[SkyDns, KubeUi, Busybox][..],
        Installer::Binaries => &[Namespace, Dns, Probe, Backends],
        Installer::Primer | Installer::Kubeadm => &[Namespace, Probe, Backends],
    };
    wanted.iter().map(|&add_on| Ok((add_on, manifest(plan, add_on, library)?))).collect()
}

/// What installing itself applies of them: all of 2016, and DNS where nobody else brings it and the lab has its image.
pub fn add_ons(plan: &Plan, library: &Library) -> Result<Vec<(AddOn, String)>, RenderError> {
    match plan.installer {
        Installer::Coreos => manifests(plan, library),
        Installer::Binaries if images(plan).contains_key("coredns") => {
            Ok(vec![(AddOn::Dns, manifest(plan, AddOn::Dns, library)?)])
        }
        Installer::Binaries | Installer::Kubeadm | Installer::Primer => Ok(Vec::new()),
    }
}

/// One manifest, for the master to apply. `manifests/README.md` says what templates can use.
pub fn manifest(plan: &Plan, add_on: AddOn, library: &Library) -> Result<String, RenderError> {
    let (template, node) = (add_on.template(), &plan.master);
    let found = library.template(template).map_err(|source| RenderError::Library { node: node.clone(), source })?;
    let text = environment(library, &plan.installer.to_string())
        .get_template(template)
        .and_then(|ready| ready.render(context(plan)))
        .map_err(|error| template_error(&error, template, node, library))?;
    let not_readable =
        |source| RenderError::NotReadable { template: found.shown, what: "manifests", node: node.clone(), source };
    check(&text).map_err(not_readable)?;
    Ok(text)
}

/// The lab's release of Kubernetes as templates see it.
#[derive(Serialize)]
struct Served {
    version: String,
    minor: u16,
}

/// That release, where there is one.
pub(super) fn kubernetes(plan: &Plan) -> Value {
    let release = plan.kubernetes.as_ref().map(|kubernetes| kubernetes.version);
    let served = release.map(|release| Served { version: release.to_string(), minor: release.minor });
    served.map_or(Value::UNDEFINED, seen)
}

fn context(plan: &Plan) -> Value {
    minijinja::context! {
        kubernetes => kubernetes(plan),
        net => seen(&plan.network),
        image => seen(images(plan)),
        cluster => plan.cluster.as_str(),
        lab => plan.lab.as_str(),
    }
}

/// The lab's container images by their artifacts' names, those too that nobody could pin yet.
pub(super) fn images(plan: &Plan) -> BTreeMap<&str, &str> {
    let pinned = plan.artifacts.iter().map(|placed| (&placed.pin.name, &placed.pin.source));
    let wanted = plan.missing.iter().map(|wanted| (&wanted.name, &wanted.source));
    pinned
        .chain(wanted)
        .filter_map(|(name, source)| match source {
            Source::Oci { reference } => Some((name.as_str(), reference.as_str())),
            Source::Apt { .. } | Source::Url { .. } => None,
        })
        .collect()
}

/// Every document is a group of keys, none of them twice.
fn check(text: &str) -> Result<(), Problems> {
    let mut found = Vec::new();
    for document in tree::parse_all(text, "manifest")? {
        found.extend(tree::repeated_keys(&document));
        if !matches!(document.value, tree::Value::Map(_)) {
            let reason = format!("{} where an object is expected", document.value.kind());
            found.push(Problem::new(&document.at, reason));
        }
    }
    Problems::none_or(found)
}
