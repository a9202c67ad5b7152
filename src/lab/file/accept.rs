//! The section of `lab.yaml` on what a lab is accepted by.

use std::fmt::Display;

use super::{Calico, Installer, On};
use crate::lab::accept::{Accept, Crew, CrewName, Muster};
use crate::lab::edit::Object;
use crate::lab::problem::Problem;
use crate::lab::scalar::{self, Found};
use crate::lab::tree::{Fields, Node};

/// What the lab is accepted by, where it says so; `calico` is the one whose manifests hold the objects.
pub(super) fn accept(
    top: &mut Fields<'_>,
    installer: Option<&Found<Installer>>,
    calico: Option<&Calico>,
) -> Option<Accept> {
    let node = top.optional("accept")?;
    if let Some(installer) = installer.filter(|found| !found.value.has_kubernetes()) {
        let message = format!("the installer `{}` makes no objects and no pods of Kubernetes", installer.value);
        top.problem(Problem::new(&node.at, message).remedy("remove the section"));
    }
    let right_so_far = top.problems().is_empty();
    let mut fields = Fields::of(node, "accept", top.problems());
    let objects = fields.each("objects", scalar::parsed::<Object>);
    if let Some(found) = objects.as_ref().filter(|_| right_so_far && calico.is_none()) {
        let problem = Problem::new(&found.at, "`accept.objects` are those of Calico's manifests, and the lab has none");
        fields.problem(problem.remedy("remove the key"));
    }
    let objects = objects.map_or_else(Vec::new, |found| found.value);
    once(&mut fields, &objects);
    let (names, wanted): (Vec<_>, Vec<_>) = crews(&mut fields).into_iter().unzip();
    once(&mut fields, &names);
    if objects.is_empty() && names.is_empty() && fields.problems().is_empty() {
        let at = fields.at().clone();
        let problem = Problem::new(&at, "`accept` names neither objects nor pods");
        fields.problem(problem.remedy("write for example `pods: [{name: kube-system/calico-node, on: all}]`"));
    }
    fields.end();
    let crew = |(name, wanted): (Found<CrewName>, Muster)| Crew { name: name.value, wanted };
    Some(Accept {
        objects: objects.into_iter().map(|found| found.value).collect(),
        pods: names.into_iter().zip(wanted).map(crew).collect(),
    })
}

fn crews(fields: &mut Fields<'_>) -> Vec<(Found<CrewName>, Muster)> {
    let Some(list) = fields.get("pods", scalar::list) else { return Vec::new() };
    let path = fields.path("pods");
    let read = |(i, item): (usize, Node)| {
        let mut inner = Fields::of(item, &format!("{path}[{i}]"), fields.problems());
        let name = inner.need("name", "kube-system/calico-node", scalar::parsed::<CrewName>);
        let wanted = muster(&mut inner);
        inner.end();
        Some((name?, wanted?))
    };
    list.value.into_iter().enumerate().filter_map(read).collect()
}

fn muster(fields: &mut Fields<'_>) -> Option<Muster> {
    let before = fields.problems().len();
    let on = fields.get("on", scalar::choice(&[("all", On::All), ("master", On::Master)]));
    let count = fields.get("count", scalar::number(1u16..=999));
    match (on, count) {
        (Some(on), None) => Some(Muster::On(on.value)),
        (None, Some(count)) => Some(Muster::Count(count.value)),
        _ => {
            if fields.problems().len() == before {
                let at = fields.at().clone();
                let problem = Problem::new(&at, "how many pods there are to be is said by one of `on` and `count`");
                fields.problem(problem.remedy("write `on: all`, `on: master` or for example `count: 2`"));
            }
            None
        }
    }
}

/// What stands twice would be counted twice.
fn once<T: PartialEq + Display>(fields: &mut Fields<'_>, all: &[Found<T>]) {
    for (i, found) in all.iter().enumerate() {
        if all[..i].iter().any(|earlier| earlier.value == found.value) {
            fields.problem(Problem::new(&found.at, format!("`{}` stands twice", found.value)).remedy("remove one"));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::lab::builtin::Library;
    use crate::lab::file::Lab;

    fn told(lab: &str, section: &str) -> String {
        let library = Library::open(None).expect("own");
        let name = lab.parse().expect("a name");
        let text = library.lab(&name).expect("carried").text;
        let (before, own) = text.split_once("\naccept:").unwrap_or((&text, ""));
        let after = own.find("\nartifacts:").map_or("", |at| &own[at..]);
        let text = format!("{before}{after}\n{section}\n");
        let read = Lab::read(&name, &text, "lab.yaml", &[], &library.images().expect("right"));
        read.map_or_else(|problems| problems.to_string(), |lab| format!("{:?}", lab.accept.expect("said").pods))
    }

    #[test]
    fn what_is_wrong_is_told_with_place_and_remedy() {
        let sections = [
            ("calico-3.14-kubeadm", "accept: {}"),
            ("calico-3.14-kubeadm", "accept: {objects: [calico-node, DaemonSet/a, DaemonSet/a], pod: []}"),
            ("calico-3.14-kubeadm", "accept: {pods: [{name: calico-node, on: all}, {name: a/b, on: every}]}"),
            ("calico-3.14-kubeadm", "accept: {pods: [{name: a/b}, {name: a/c, on: all, count: 2}, {on: all}]}"),
            (
                "calico-3.14-kubeadm",
                "accept: {pods: [{name: a/b, count: 0}, {name: a/c, on: all}, {name: a/c, count: 1}]}",
            ),
            ("primer", "accept: {pods: [{name: a/b, on: all}]}"),
            ("coreos-0.15", "accept: {objects: [DaemonSet/a]}"),
        ];
        let all: Vec<String> =
            sections.iter().map(|(lab, text)| format!("{lab}: {text}\n{}\n", told(lab, text))).collect();
        insta::assert_snapshot!(all.join("\n"));
        let right = told("calico-3.14-kubeadm", "accept: {pods: [{name: a/b, on: master}]}");
        assert!(right.contains("On(Master)"), "{right}");
    }
}
