//! The sections of `lab.yaml` on Kubernetes and Calico, and what must hold between them.

use serde_json::Value as Json;

use super::{Artifact, Installer, Network, On, POLICIES, Policy};
use crate::lab::edit::{Change, Edit, Object, Path};
use crate::lab::era;
use crate::lab::file::artifacts::member;
use crate::lab::images::OsImage;
use crate::lab::kubernetes::{
    Calico, DATASTORES, DETECTIONS, Datastore, Detection, ENCAPSULATIONS, Edge, Encapsulation, Etcd, INSTALLS,
    ImageArchive, Install, Kubernetes, ManifestFile, Release,
};
use crate::lab::problem::{Place, Problem, nearest};
use crate::lab::scalar::{self, Found};
use crate::lab::tree::{Fields, Node, Value};

#[cfg(test)]
mod tests;

/// The Kubernetes of a lab that has one; its place is that of its version.
pub(super) fn kubernetes(top: &mut Fields<'_>, installer: Option<&Found<Installer>>) -> Option<Found<Kubernetes>> {
    let Some(node) = top.optional("kubernetes") else {
        // What CoreOS machines get stands in their cloud-config.
        if let Some(installer) =
            installer.filter(|found| matches!(found.value, Installer::Binaries | Installer::Kubeadm))
        {
            let message = format!("the installer `{}` wants to know which `kubernetes` it installs", installer.value);
            top.problem(
                Problem::new(&installer.at, message).remedy("write for example `kubernetes: {version: 1.20.8}`"),
            );
        }
        return None;
    };
    if let Some(installer) = installer.filter(|found| !found.value.has_kubernetes()) {
        let message = format!("the installer `{}` installs no Kubernetes", installer.value);
        top.problem(Problem::new(&node.at, message).remedy("remove the section, or choose another installer"));
    }
    let mut fields = Fields::of(node, "kubernetes", top.problems());
    let version = fields.need("version", "1.20.8", scalar::parsed::<Release>);
    let etcd = fields.optional("etcd").and_then(|node| etcd(&mut fields, node));
    if let Some(installer) = installer.filter(|found| found.value == Installer::Binaries && etcd.is_none()) {
        let at = fields.at().clone();
        let message = format!("the installer `{}` brings no etcd of its own", installer.value);
        fields.problem(Problem::new(&at, message).remedy("write for example `etcd: {on: master, tls: on}`"));
    }
    let network = fields.optional("network").and_then(|node| edge(&mut fields, node, installer));
    fields.end();
    let version = version?;
    Some(Found { value: Kubernetes { version: version.value, etcd, network }, at: version.at })
}

/// What isolates the pods of a lab whose installer writes the plugin's file itself.
pub(super) fn policy(top: &mut Fields<'_>, installer: Option<&Found<Installer>>) -> Policy {
    let Some(policy) = top.get("policy", scalar::choice(&POLICIES)) else { return Policy::None };
    if let Some(installer) = installer.filter(|found| found.value != Installer::Coreos) {
        let message =
            format!("the installer `{}` takes no `policy`: that is a key of Calico's plugin of 2016", installer.value);
        top.problem(Problem::new(&policy.at, message).remedy("remove it"));
    }
    policy.value
}

fn etcd(fields: &mut Fields<'_>, node: Node) -> Option<Etcd> {
    let mut inner = Fields::of(node, "kubernetes.etcd", fields.problems());
    let on = inner.need("on", "master", scalar::choice(&[("all", On::All), ("master", On::Master)]));
    let tls = inner.need("tls", "on", scalar::switch);
    inner.end();
    Some(Etcd { on: on?.value, tls: tls?.value })
}

/// What a pod network of the lab's own does at its edge: nobody else could say.
fn edge(fields: &mut Fields<'_>, node: Node, installer: Option<&Found<Installer>>) -> Option<Edge> {
    if let Some(installer) = installer.filter(|found| found.value == Installer::Coreos) {
        let message = format!("the installer `{}` brings its own pod network", installer.value);
        fields.problem(Problem::new(&node.at, message).remedy("remove `kubernetes.network`"));
    }
    let mut inner = Fields::of(node, "kubernetes.network", fields.problems());
    let nat = inner.need("nat", "on", scalar::switch);
    let hostport = inner.need("hostport", "on", scalar::switch);
    inner.end();
    Some(Edge { nat: nat?.value, hostport: hostport?.value })
}

/// The Calico of a lab that has one. Of what is around it, `artifacts` are the lab's.
pub(super) fn calico(
    top: &mut Fields<'_>,
    kubernetes: Option<&Found<Kubernetes>>,
    network: &Network,
    artifacts: Option<&[Artifact]>,
) -> Option<Calico> {
    let node = top.optional("calico")?;
    let mut fields = Fields::of(node, "calico", top.problems());
    let version = fields.need("version", "3.21.2", scalar::parsed::<Release>);
    let datastore = fields.need("datastore", "kubernetes", scalar::choice(DATASTORES));
    let encapsulation = fields.get("encapsulation", scalar::choice(ENCAPSULATIONS));
    let detection = fields.get("detection", scalar::choice(DETECTIONS));
    let install = fields.get("install", scalar::choice(INSTALLS));
    only_bird(&mut fields);
    let way = install.as_ref().map_or(Install::Manifest, |found| found.value);
    let manifests = manifests(&mut fields, way, install.as_ref().map(|found| &found.at), artifacts);
    let images = archives(&mut fields, artifacts);
    let edits = edits(&mut fields);
    if let Some(version) = &version {
        goes_with(&mut fields, version, kubernetes, network);
        let wrong = [wrapping(version, encapsulation.as_ref()), finding(version, detection.as_ref())];
        wrong.into_iter().flatten().for_each(|problem| fields.problem(problem));
    }
    if let Some(found) = datastore.as_ref().filter(|found| found.value == Datastore::Etcd)
        && kubernetes.is_some_and(|kubernetes| kubernetes.value.etcd.is_none())
    {
        let at = found.at.clone();
        fields.problem(
            Problem::new(&at, "`calico.datastore` is an etcd, and the lab runs none")
                .remedy("write for example `kubernetes.etcd: {on: master, tls: on}`"),
        );
    }
    fields.end();
    let version = version?.value;
    let newest = if version.since(3, 16) { Detection::Cidr } else { Detection::CanReach };
    Some(Calico {
        version,
        datastore: datastore?.value,
        encapsulation: encapsulation.map_or(Encapsulation::Ipip, |found| found.value),
        detection: detection.map_or(newest, |found| found.value),
        install: way,
        manifests: manifests?,
        images: images?,
        own: Vec::new(),
        edits: edits?,
    })
}

/// A kubelet that the lab starts needs the control groups of its age. What is left of 2016 is shown on any image.
pub(super) fn runs_on(
    top: &mut Fields<'_>,
    kubernetes: Option<&Found<Kubernetes>>,
    installer: Option<&Found<Installer>>,
    (image, fitting): (&Found<String>, &OsImage),
) {
    let (Some(kubernetes), Some(cgroups)) = (kubernetes, fitting.cgroups) else { return };
    if installer.is_some_and(|found| found.value == Installer::Coreos) {
        return;
    }
    if let Some(why) = era::unfit(kubernetes.value.version, cgroups) {
        // Whichever of the two was asked for on the command line is what does not fit.
        let at = if matches!(kubernetes.at, Place::Flag { .. }) { &kubernetes.at } else { &image.at };
        let remedy = "the notes of images.yaml say which kubelets each image is for";
        top.problem(Problem::new(at, format!("image `{}` {why}", image.value)).remedy(remedy));
    }
}

/// The artifacts whose version is the lab's own Kubernetes or Calico, with that version.
pub(super) fn versioned(
    top: &mut Fields<'_>,
    artifacts: Vec<Artifact>,
    [kubernetes, calico]: [Option<Release>; 2],
) -> Vec<Artifact> {
    let mut version = |artifact: &Artifact| {
        let said = artifact.version.clone()?;
        let (word, release) = match said.as_str() {
            "{kubernetes}" => ("kubernetes", kubernetes),
            "{calico}" => ("calico", calico),
            _ => return Some(said),
        };
        // Where something is wrong already, its version may be what is.
        if release.is_none() && top.problems().is_empty() {
            let at = top.at().clone();
            let message = format!("artifact `{}` is of the lab's own `{word}`, which has no version", artifact.name);
            top.problem(Problem::new(&at, message).remedy(format!("write for example `{word}: {{version: 1.20.8}}`")));
        }
        release.map(|release| release.to_string())
    };
    artifacts.into_iter().map(|artifact| Artifact { version: version(&artifact), ..artifact }).collect()
}

fn only_bird(fields: &mut Fields<'_>) {
    let backend = fields.get("backend", scalar::text);
    if let Some(found) = backend.filter(|found| found.value != "bird") {
        fields.problem(
            Problem::new(&found.at, format!("`calico.backend` is `{}`, which exchanges no routes by BGP", found.value))
                .remedy("every lab proves its sessions: leave it `bird`, and change `calico.encapsulation` alone"),
        );
    }
}

fn goes_with(
    fields: &mut Fields<'_>,
    calico: &Found<Release>,
    kubernetes: Option<&Found<Kubernetes>>,
    network: &Network,
) {
    let Some(kubernetes) = kubernetes else {
        let at = calico.at.clone();
        let problem = Problem::new(&at, "the lab has a `calico` and no `kubernetes`");
        fields.problem(problem.remedy("write for example `kubernetes: {version: 1.20.8}`"));
        return;
    };
    if kubernetes.value.network.is_some() {
        let problem = Problem::new(
            &calico.at,
            "the lab has a `calico`, and `kubernetes.network` says what its pods' network does",
        );
        fields
            .problem(problem.remedy("remove `kubernetes.network`: Calico's NAT and ports of nodes are its manifests'"));
    }
    if let Some(why) = era::refusal(kubernetes.value.version, calico.value) {
        // Whichever of the two was asked for on the command line is what does not fit.
        let at = if matches!(kubernetes.at, Place::Flag { .. }) { &kubernetes.at } else { &calico.at };
        let remedy = era::of(calico.value).map(|era| format!("it goes with Kubernetes {}", era.range()));
        let problem = Problem::new(at, why);
        fields.problem(match remedy {
            Some(remedy) => problem.remedy(remedy),
            None => problem,
        });
    }
    if !calico.value.since(3, 14) && network.block != 26 {
        let message = format!("Calico {} makes blocks of /26, and `network.block` is {}", calico.value, network.block);
        fields.problem(Problem::new(&calico.at, message).remedy("leave it out, or write `block: 26`"));
    }
}

fn wrapping(version: &Found<Release>, wanted: Option<&Found<Encapsulation>>) -> Option<Problem> {
    let found = wanted?;
    let vxlan = matches!(found.value, Encapsulation::Vxlan | Encapsulation::VxlanCrossSubnet);
    (vxlan && !version.value.since(3, 7)).then(|| {
        Problem::new(&found.at, format!("Calico {} cannot do `{}`, which 3.7 brought", version.value, found.value))
            .remedy("`ipip`, `ipip-cross-subnet` and `none` are possible")
    })
}

fn finding(version: &Found<Release>, wanted: Option<&Found<Detection>>) -> Option<Problem> {
    let found = wanted.filter(|found| found.value == Detection::Cidr && !version.value.since(3, 16))?;
    Some(
        Problem::new(&found.at, format!("Calico {} does not know `cidr`, which 3.16 brought", version.value))
            .remedy("`can-reach` and `interface` are possible"),
    )
}

/// The files for the way that is chosen; those for the other are read too, so that no lab is half right.
fn manifests(
    fields: &mut Fields<'_>,
    way: Install,
    asked: Option<&Place>,
    artifacts: Option<&[Artifact]>,
) -> Option<Vec<ManifestFile>> {
    let mut of = |key: &'static str| {
        let list = fields.get(key, scalar::list)?;
        let path = fields.path(key);
        let items: Vec<Option<ManifestFile>> = list
            .value
            .into_iter()
            .enumerate()
            .map(|(i, item)| manifest(fields, item, &format!("{path}[{i}]"), artifacts))
            .collect();
        Some(items.into_iter().collect::<Option<Vec<_>>>())
    };
    let (manifest, operator) = (of("manifests"), of("operator"));
    let (chosen, key) = match way {
        Install::Manifest => (manifest, "manifests"),
        Install::Operator => (operator, "operator"),
    };
    chosen.unwrap_or_else(|| {
        let at = asked.unwrap_or(fields.at()).clone();
        let message = format!("the lab has no `calico.{key}`, the files for `install: {way}`");
        fields.problem(
            Problem::new(&at, message).remedy(format!("write for example `{key}: [{{of: calico-manifest}}]`")),
        );
        None
    })
}

fn manifest(fields: &mut Fields<'_>, item: Node, path: &str, artifacts: Option<&[Artifact]>) -> Option<ManifestFile> {
    let mut inner = Fields::of(item, path, fields.problems());
    let of = inner.need("of", "calico-manifest", scalar::text);
    let member = inner.get("member", member);
    if let (Some(of), Some(artifacts)) = (&of, artifacts) {
        let names: Vec<&str> = artifacts.iter().map(|artifact| artifact.name.as_str()).collect();
        known(&mut inner, of, "artifact", &names);
    }
    inner.end();
    Some(ManifestFile { of: of?.value, member: member.map(|found| found.value) })
}

fn known(fields: &mut Fields<'_>, found: &Found<String>, what: &str, names: &[&str]) {
    if !names.contains(&found.value.as_str()) {
        let problem = Problem::new(&found.at, format!("the lab has no {what} `{}`", found.value));
        fields.problem(match nearest(&found.value, names) {
            Some(near) => Problem { nearest: Some(near.into()), ..problem },
            None => problem.remedy(format!("there is {}", names.join(", "))),
        });
    }
}

fn archives(fields: &mut Fields<'_>, artifacts: Option<&[Artifact]>) -> Option<Vec<ImageArchive>> {
    let Some(list) = fields.get("images", scalar::list) else { return Some(Vec::new()) };
    let path = fields.path("images");
    let brought: Option<Vec<&str>> =
        artifacts.map(|all| all.iter().flat_map(|artifact| &artifact.files).map(|taken| taken.to.as_str()).collect());
    let read: Vec<Option<ImageArchive>> = list
        .value
        .into_iter()
        .enumerate()
        .map(|(i, item)| {
            let mut inner = Fields::of(item, &format!("{path}[{i}]"), fields.problems());
            let file = inner.need("file", "var/lib/calicolab/images/calico-node.tar", member);
            let name = inner.need("name", "registry.example/calico/node:v3.0.3", super::artifacts::reference);
            if let (Some(file), Some(brought)) = (&file, &brought) {
                known(&mut inner, file, "file", brought);
            }
            inner.end();
            Some(ImageArchive { file: file?.value, name: name?.value })
        })
        .collect();
    read.into_iter().collect()
}

fn edits(fields: &mut Fields<'_>) -> Option<Vec<Edit>> {
    let Some(list) = fields.get("edits", scalar::list) else { return Some(Vec::new()) };
    let path = fields.path("edits");
    let read: Vec<Option<Edit>> = list
        .value
        .into_iter()
        .enumerate()
        .map(|(i, item)| {
            let mut inner = Fields::of(item, &format!("{path}[{i}]"), fields.problems());
            let edit = edit(&mut inner);
            inner.end();
            edit
        })
        .collect();
    read.into_iter().collect()
}

fn edit(fields: &mut Fields<'_>) -> Option<Edit> {
    let object = fields.need("in", "DaemonSet/calico-node", scalar::parsed::<Object>);
    let at = fields.need("at", "spec.template.spec.containers[calico-node].env[IP].value", scalar::parsed::<Path>);
    let set = fields.optional("set").map(|node| Change::Set(json(&node)));
    let put = fields.optional("put").map(|node| Change::Put(json(&node)));
    let remove = fields.get("remove", scalar::switch).filter(|found| found.value).map(|_| Change::Remove);
    let mut changes = [set, put, remove].into_iter().flatten();
    let (Some(change), None) = (changes.next(), changes.next()) else {
        let place = fields.at().clone();
        fields.problem(
            Problem::new(&place, "an edit is one of `set`, `put` and `remove`")
                .remedy("`set` a value that is there, `put` one that may be new, or `remove: on`"),
        );
        return None;
    };
    Some(Edit { object: object?.value, at: at?.value, change })
}

/// What was read, without its places.
fn json(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Bool(value) => (*value).into(),
        Value::Int(value) => i64::try_from(*value).map_or_else(|_| value.to_string().into(), Json::from),
        Value::Float(value) => (*value).into(),
        Value::Text(value) | Value::Given(value) => value.clone().into(),
        Value::List(items) => items.iter().map(json).collect(),
        Value::Map(entries) => entries.iter().map(|(key, value)| (key.word.clone(), json(value))).collect(),
    }
}
