//! One node made, as a container or as a virtual machine, and started behind a way in that nobody else has.

use super::answer::Instance;
use super::client::Client;
use super::door::{self, Door};
use super::instance::{self, Making};
use super::names::Names;
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

/// How often another door is drawn before that is given up.
const DRAWS: u32 = 8;

/// The way in of a node that is made and does not run yet: `door`, or another one where somebody else has that.
///
/// Who begins at the same time may have drawn the same one, and nothing at the servers hands them out. So each looks
/// only after its own is written there: of two that have one door at least the later sees the other, and moves.
pub async fn settled(client: &Client, names: &Names, node: &NodeName, door: Door) -> Result<Door, ProviderError> {
    let own = names.instance(node);
    let mut settled = door;
    for draw in 0..DRAWS {
        let all = instance::of_everybody(client).await?;
        if !settled.is_anothers(&own, &all) {
            return Ok(settled);
        }
        settled = moved(client, names, node, (settled, draw), &all).await?;
    }
    Err(ProviderError::Taken { what: format!("each of {DRAWS} ports that were drawn at {} for {node}", door.at) })
}

/// Start it; the way in, which is another than `door` where somebody has that by now: while the node was off, or without
/// being an instance.
pub async fn start(
    client: &Client,
    names: &Names,
    node: &NodeName,
    door: Option<Door>,
) -> Result<Option<Door>, ProviderError> {
    let name = names.instance(node);
    let mut open = door;
    let mut draws = DRAWS..2 * DRAWS;
    loop {
        let started = instance::start(client, &name, node).await;
        let (Err(_), Some(door)) = (&started, open) else { return started.map(|()| open) };
        let all = instance::of_everybody(client).await?;
        let taken = door.is_anothers(&name, &all) || door.answers().await;
        let Some(draw) = draws.next().filter(|_| taken) else { return started.map(|()| open) };
        open = Some(moved(client, names, node, (door, draw), &all).await?);
    }
}

/// Write another door than the one it has to the node's instance, which does not run.
async fn moved(
    client: &Client,
    names: &Names,
    node: &NodeName,
    (door, draw): (Door, u32),
    all: &[Instance],
) -> Result<Door, ProviderError> {
    let name = names.instance(node);
    let mut taken = door::ports(all);
    let port = door::free(door::candidates(names.drawn(node, draw)), door.at, &mut taken).await;
    let full = || ProviderError::Taken { what: format!("every port at {} that may lead to a node", door.at) };
    let moved = Door { port: port.ok_or_else(full)?, ..door };
    if let Some(own) = all.iter().find(|one| one.name == name) {
        let path = format!("/1.0/instances/{name}");
        client.change("PATCH", &path, Some(&moved.moved(own)), format!("moving the way to {node}")).await?;
    }
    Ok(moved)
}
