//! `--set image.ARTIFACT=FILE|REF@DIGEST`: an image of the user's own in place of one that the lab pins.

use std::path::Path;

use crate::artifact::cache::Cache;
use crate::artifact::oci::saved;
use crate::failure::{Exit, Failure};
use crate::lab::artifact::Taken;
use crate::lab::file::Lab;
use crate::lab::kubernetes::{ImageArchive, Instead};
use crate::lab::pin::{Arch, Digest, Lock, Pin, Source, Trust};
use crate::lab::problem::nearest;
use crate::node::container::ARCHIVES;

/// What such a setting begins with.
const PREFIX: &str = "image.";

/// The settings of images apart from all others.
pub fn apart(sets: &[String]) -> (Vec<(&str, &str)>, Vec<&String>) {
    let mut others = Vec::new();
    let mut own = Vec::new();
    for text in sets {
        match text.strip_prefix(PREFIX).and_then(|rest| rest.split_once('=')) {
            Some(pair) => own.push(pair),
            None => others.push(text),
        }
    }
    (own, others)
}

/// A lock pins what everybody can have.
pub fn none_for_a_lock(sets: &[String]) -> Result<(), Failure> {
    let (own, _) = apart(sets);
    let Some((name, value)) = own.first() else { return Ok(()) };
    Err(Failure::new(Exit::Usage, "usage.image", format!("lock {PREFIX}{name}"))
        .because_text(format!("{value} is an image of your own, which no lock can name for others"))
        .hint(format!(
            "leave it out here, and say `--set {PREFIX}{name}={value}` to `up`: it is pinned there by its digest"
        )))
}

/// Put the user's image in the place of the artifact `name`: pinned by its digest, and what the upstream's manifests want
/// that one for they get this one for.
pub fn put(cache: &Cache, lab: &mut Lab, lock: &mut Lock, name: &str, value: &str) -> Result<(), Failure> {
    let failed = |why: String| {
        Failure::new(Exit::Usage, "usage.image", format!("use your own image for {name}")).because_text(why)
    };
    let images = lab.artifacts.iter().filter(|one| matches!(one.source, Source::Oci { .. }));
    let images: Vec<&str> = images.map(|one| one.name.as_str()).collect();
    if !images.contains(&name) {
        let failure = failed(format!("{} has no image `{name}`; it has {}", lab.name, images.join(", ")));
        return Err(match nearest(name, &images) {
            Some(near) => failure.hint(format!("did you mean `--set image.{near}={value}`?")),
            None => failure,
        });
    }
    let arch = lab.arch;
    let artifact = lab.artifacts.iter_mut().find(|one| one.name == name).expect("it is among them");
    let was = artifact.source.filled(artifact.version.as_deref().unwrap_or_default(), arch);
    let path = Path::new(value);
    let (source, digest, bytes, by) = if path.is_file() {
        let names = saved::names(path).map_err(|error| failed(format!("{value} is none")).because(&error))?;
        let [one] = names.as_slice() else {
            return Err(failed(format!("{value} holds {} images: {}", names.len(), names.join(", "))));
        };
        let adopted = cache.adopt(path);
        let (digest, bytes) = adopted.map_err(|error| failed(format!("{value} cannot be taken in")).because(&error))?;
        let to = format!("{ARCHIVES}/{name}.tar");
        artifact.files = vec![Taken { from: None, to: to.clone(), mode: None }];
        if let Some(calico) = &mut lab.calico {
            calico.images.push(ImageArchive { file: to, name: one.clone() });
        }
        let whole =
            std::path::absolute(path).map_err(|error| failed(format!("{value} has no place")).because(&error))?;
        (
            Source::Url { urls: vec![format!("file://{}", whole.display())], sums: None },
            digest,
            Some(bytes),
            one.clone(),
        )
    } else {
        let hint =
            "docker image inspect --format '{{index .RepoDigests 0}}' NAME:TAG, or a file that `docker save` wrote";
        let Some((reference, digest)) = value.rsplit_once('@') else {
            return Err(failed(format!("`{value}` is no file, and as a reference it has no digest")).hint(hint));
        };
        let digest: Digest =
            digest.parse().map_err(|error| failed(format!("`{value}` has no digest")).because(&error).hint(hint))?;
        (Source::Oci { reference: reference.into() }, digest, None, reference.to_owned())
    };
    let version = "own".to_owned();
    (artifact.source, artifact.version) = (source.clone(), Some(version.clone()));
    if let (Some(calico), Source::Oci { reference }) = (&mut lab.calico, was) {
        calico.own.push(Instead { image: reference, by });
    }
    lock.pins.retain(|pin| pin.name != name);
    lock.missing.retain(|wanted| wanted.name != name);
    let (name, found) = (name.to_owned(), format!("given by --set image.{name}"));
    lock.pins.push(Pin { name, version, arch: Arch::All, source, digest, bytes, trust: Trust::FirstUse, found });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::example;
    use crate::lab::plan::pinned;

    fn put_into(lab: &mut Lab, name: &str, value: &str) -> Result<Lock, Failure> {
        let folder = tempfile::tempdir().expect("a folder");
        let mut lock = Lock::empty();
        put(&Cache::at(folder.path()), lab, &mut lock, name, value).map(|()| lock)
    }

    #[test]
    fn a_reference_takes_the_place_of_what_was_pinned() {
        let mut lab = example::carried_lab("calico-3.21-kdd", &[]);
        let digest = format!("sha256:{}", "ab".repeat(32));
        let lock = put_into(&mut lab, "calico-node", &format!("registry.example/me/node:dev@{digest}")).expect("taken");
        let artifact = lab.artifacts.iter().find(|one| one.name == "calico-node").expect("there");
        let pin = pinned(artifact, &lock, lab.arch).expect("pinned");
        assert_eq!(pin.digest.to_string(), digest);
        let own = &lab.calico.as_ref().expect("Calico").own[0];
        assert_eq!(own.by, "registry.example/me/node:dev");
        assert!(own.image.ends_with("calico/node:v3.21.2"), "{}", own.image);
    }

    #[test]
    fn what_cannot_be_taken_is_told_with_the_way_to_what_can() {
        let mut lab = example::carried_lab("calico-3.21-kdd", &[]);
        let mut told = |name: &str, value: &str| put_into(&mut lab, name, value).expect_err("refused").to_string();
        assert!(told("calico-nod", "x").contains("did you mean `--set image.calico-node=x`?"));
        assert!(told("kubectl", "x").contains("has no image `kubectl`"));
        assert!(told("calico-node", "me/node:dev").contains("as a reference it has no digest"));
        assert!(told("calico-node", "me/node:dev@sha256:12").contains("has no digest"));
    }

    #[test]
    fn settings_of_images_are_told_from_others() {
        let sets = ["image.calico-node=a=b", "bgp.mesh=off", "image=debian-12"].map(str::to_owned);
        let (own, others) = apart(&sets);
        assert_eq!(own, [("calico-node", "a=b")]);
        assert_eq!(others, [&sets[1], &sets[2]]);
    }
}
