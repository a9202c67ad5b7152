//! The section on what a lab is accepted by in the JSON Schema of `lab.yaml`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::OnWord;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AcceptFile {
    /// The objects of the upstream's manifests, as `DaemonSet/calico-node`: these and no others.
    #[schemars(length(min = 1))]
    objects: Option<Vec<String>>,
    /// The pods of the namespaces that are named: these and no others.
    #[schemars(length(min = 1))]
    pods: Option<Vec<CrewFile>>,
}

/// How many pods of one maker there are, by one of `on` and `count`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CrewFile {
    /// Their namespace and what their names begin with, as `kube-system/calico-node`.
    name: String,
    /// The nodes with one each.
    on: Option<OnWord>,
    /// How many, wherever they are.
    #[schemars(range(min = 1, max = 999))]
    count: Option<u16>,
}
