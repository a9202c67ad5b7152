//! One node made, as a container or as a virtual machine.

use super::client::Client;
use super::instance::{self, Making};
use super::stand::Stand;
use super::vm;
use crate::lab::name::NodeName;
use crate::lab::plan::NodePlan;
use crate::machine::{ProviderError, Seed};

/// Make a node that does not run yet. Its settings hold a private key, so they go by standard input.
pub async fn make(
    making: &Making<'_>,
    client: &Client,
    node: &NodeName,
    sizes: &NodePlan,
    stand: &Stand,
    seed: &Seed,
) -> Result<(), ProviderError> {
    let body = if making.vm {
        vm::instance(making, node, sizes, stand.door, seed)
    } else {
        instance::container(making, node, sizes, stand.door, seed)
    };
    let (image, name) = (client.thing(making.fingerprint), client.thing(&making.names.instance(node)));
    let mut words = vec![client.dialect.create, &image, &name, "--quiet"];
    words.extend(making.vm.then_some("--vm"));
    if let Some(member) = &stand.member {
        words.extend(["--target", member]);
    }
    client.verb(&words, body.to_string(), format!("making {node}")).await
}
