//! Whether machines are resumed from a template or booted, and why; the templates made where there are none yet.

use std::collections::BTreeMap;

use crate::artifact::image;
use crate::artifact::template::{Key, Stand, Template};
use crate::event::Step;
use crate::failure::{Exit, Failure};
use crate::lab::name::{NodeName, PerNode};
use crate::lab::plan::Plan;
use crate::machine::ability::Warm;
use crate::machine::{Found, Machine, Order};

use super::cx::counted;
use super::fetch::not_fetched;
use super::ls::age;
use super::site::Site;

/// The part of an image that waits for a seed.
const WAITS: &str = "rootfs/usr/lib/calicolab/resumed.py";

/// The part of the time in which all machines must have booted that one is given to come to where it waits for its seed.
/// That is half of booting, for one machine instead of all: one that takes longer will not come there.
const PART: u32 = 4;

/// The machines of an order, resumed; none where they are to be booted.
pub async fn boot(
    site: &Site<'_>,
    order: &Order<'_>,
    found: &mut Found<'_>,
) -> Result<Option<PerNode<Machine>>, Failure> {
    let Some(ability) = site.provider.warms() else { return Ok(None) };
    let events = &site.cx.events;
    let keys = match keys(site, order, ability).await? {
        Ok(keys) => keys,
        Err(why) => {
            events.note(format!("machines boot cold: {why}"));
            return Ok(None);
        }
    };
    let templates = match templates(site, order, ability, &keys).await {
        Ok(templates) => templates,
        Err(failure) => {
            events.warn(format!("machines boot cold, for there is no template: {failure}"));
            return Ok(None);
        }
    };
    let folders = keys.map(|_, key| templates[key].folder.clone());
    let resumed = ability.boot_from(order, &folders, found).await;
    let error = match resumed {
        Ok(machines) => return Ok(Some(machines)),
        Err(error) => error,
    };
    events.warn(format!("machines boot cold, for the template could not be resumed and is removed: {error}"));
    for folder in folders.values() {
        // Two nodes may have had the same; what stays is hashed again and fails again.
        let _ = std::fs::remove_dir_all(folder);
    }
    site.provider.destroy(order.place).await.map_err(|error| {
        Failure::new(Exit::Provider, "provider.boot", "remove what was not resumed").because(&error)
    })?;
    Ok(None)
}

/// What each node's template is of, or why there is none.
async fn keys(site: &Site<'_>, order: &Order<'_>, ability: &dyn Warm) -> Result<Result<PerNode<Key>, String>, Failure> {
    let Site { cx, draft, provider, .. } = *site;
    if site.cold {
        return Ok(Err("so it was asked for".into()));
    }
    let exists = provider
        .machines(order.place)
        .await
        .map_err(|error| Failure::new(Exit::Provider, "provider.machines", "look for machines").because(&error))?;
    if !exists.is_empty() {
        return Ok(Err("they have disks already".into()));
    }
    if !provider.emulates().await {
        return Ok(Err("with hardware acceleration that takes seconds".into()));
    }
    let cannot = || Ok(Err(format!("the image {} cannot wait for a seed", draft.image.name)));
    let Ok(recipe) = image::recipe(&cx.library, &draft.image) else { return cannot() };
    let waits = recipe.files.iter().any(|file| file.path == WAITS);
    let Some(kept) = image::kept(&cx.cache, &recipe).filter(|_| waits && order.image.boot.is_some()) else {
        return cannot();
    };
    let fit = ability.fit().await;
    let keys = order.plan.nodes.try_map(|node, sizes| {
        let seed = &order.seeds[node];
        let payload = seed.payload.as_ref().and_then(|path| path.file_name());
        Ok::<_, std::io::Error>(Key {
            image: kept.name(),
            files: kept.files.clone(),
            cpus: sizes.cpus,
            memory_mib: sizes.memory_mib,
            disk_mib: sizes.disk_mib,
            seed_bytes: seed.disk()?.len() as u64,
            payload: payload.map(|name| name.to_string_lossy().into_owned()),
            fit: fit.clone(),
        })
    });
    let failed = |error| Failure::new(Exit::Unexpected, "seed", "make the nodes' seeds").because(&error);
    keys.map(Ok).map_err(failed)
}

/// The templates of these keys; one that is not there is made first. Booting one machine and resuming the others takes
/// less than booting all, where there are fewer processors than machines; and no longer elsewhere.
async fn templates(
    site: &Site<'_>,
    order: &Order<'_>,
    ability: &dyn Warm,
    keys: &PerNode<Key>,
) -> Result<BTreeMap<Key, Template>, Failure> {
    let (cx, events) = (site.cx, &site.cx.events);
    let of: BTreeMap<&Key, &NodeName> = keys.iter().map(|(node, key)| (key, node)).collect();
    let mut templates = BTreeMap::new();
    for (key, node) in of {
        let template = match cx.cache.template(key, events).await.map_err(|error| not_fetched(&error))? {
            Stand::There(template) => {
                let age = age(template.made, jiff::Timestamp::now());
                events.note(format!("machines are resumed from the template {}, made {age} ago", key.name()));
                template
            }
            Stand::ToMake(making) => {
                let subject = format!("template {}", key.name());
                events.progress(Step::Boot, &subject, "booting one machine, to be resumed as many");
                let made = ability.template(order, node, making.folder(), site.boot_limit / PART).await;
                made.map_err(|error| Failure::new(Exit::Boot, "boot.template", "make a template").because(&error))?;
                let template = making.keep().await.map_err(|error| not_fetched(&error))?;
                events.subject_done(Step::Boot, &subject, "made");
                let machines = counted(keys.len(), "machine");
                events.note(format!("{machines} resumed from the template {}, made now", key.name()));
                template
            }
        };
        templates.insert(key.clone(), template);
    }
    Ok(templates)
}

/// The failure of a resumed machine, with the way around what it was resumed from.
pub fn or_boot(failure: Failure, plan: &Plan) -> Failure {
    failure.hint(format!(
        "it was resumed from a template; to boot it instead: calicolab up {} --name {} --recreate --cold",
        plan.lab, plan.cluster
    ))
}
