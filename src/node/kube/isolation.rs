//! Policies, of Kubernetes and of Calico, as far as it can be told whom they leave without what nobody allows.

use std::collections::BTreeMap;

use serde_json::Value;

/// A policy by which pods may do only what somebody allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Isolation {
    /// Its kind as kubectl is told it.
    pub kind: &'static str,
    /// Its namespace; none if it is for all.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// The directions in which it does not allow everything (`Ingress`, `Egress`).
    pub ways: Vec<&'static str>,
    whom: Whom,
    labels: BTreeMap<String, String>,
}

/// Whose pods it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Whom {
    /// Those that have all these labels.
    Labelled(BTreeMap<String, String>),
    /// Those of an expression that is not read here.
    Other,
}

impl Isolation {
    /// Read an object; none if it is no policy, or one that allows everything.
    pub(super) fn read(object: &Value) -> Option<Self> {
        let of = |group: &str| object["apiVersion"].as_str().is_some_and(|version| version.starts_with(group));
        let kubernetes = of("networking.k8s.io/");
        let kind = match object["kind"].as_str()? {
            "NetworkPolicy" if kubernetes => "networkpolicies.networking.k8s.io",
            "NetworkPolicy" if of("crd.projectcalico.org/") => "networkpolicies.crd.projectcalico.org",
            "GlobalNetworkPolicy" => "globalnetworkpolicies.crd.projectcalico.org",
            _ => return None,
        };
        let (metadata, spec) = (&object["metadata"], &object["spec"]);
        let types = &spec[if kubernetes { "policyTypes" } else { "types" }];
        let ways = [("Ingress", "ingress"), ("Egress", "egress")].into_iter().filter(|(word, rules)| {
            let has = |rules: &str| spec[rules].as_array().is_some_and(|all| !all.is_empty());
            // Unsaid it is what is coming in, and what is going out if there is a rule for it.
            let meant = match types.as_array() {
                Some(all) => all.iter().any(|one| one == word),
                None => has(rules) || *word == "Ingress" && (kubernetes || !has("egress")),
            };
            meant && !spec[*rules].as_array().is_some_and(|all| all.iter().any(allows_all))
        });
        let ways: Vec<&str> = ways.map(|(word, _)| word).collect();
        let whom = if kubernetes { selected(&spec["podSelector"]) } else { expressed(spec["selector"].as_str()) };
        let labels = labels(&metadata["labels"]);
        (!ways.is_empty()).then_some(Self {
            kind,
            namespace: metadata["namespace"].as_str().map(str::to_owned),
            name: metadata["name"].as_str()?.to_owned(),
            ways,
            whom,
            labels,
        })
    }

    /// Whether pods of this namespace with this label are its.
    pub fn is_for(&self, namespace: &str, label: (&str, &str)) -> bool {
        let Whom::Labelled(wanted) = &self.whom else { return false };
        self.namespace.as_deref().is_none_or(|own| own == namespace)
            && wanted.iter().all(|(key, value)| (key.as_str(), value.as_str()) == label)
    }

    /// Whether it carries this label itself.
    pub fn carries(&self, label: &str) -> bool {
        self.labels.contains_key(label)
    }
}

/// A rule that names nobody and nothing allows all.
fn allows_all(rule: &Value) -> bool {
    rule.as_object().is_some_and(|rule| rule.iter().all(|(key, value)| key == "action" && value == "Allow"))
}

fn labels(value: &Value) -> BTreeMap<String, String> {
    let all = value.as_object().into_iter().flatten();
    all.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

fn selected(selector: &Value) -> Whom {
    if selector["matchExpressions"].as_array().is_some_and(|all| !all.is_empty()) {
        return Whom::Other;
    }
    Whom::Labelled(labels(&selector["matchLabels"]))
}

fn expressed(selector: Option<&str>) -> Whom {
    match selector.unwrap_or_default().replace(' ', "").as_str() {
        "" | "all()" => Whom::Labelled(BTreeMap::new()),
        _ => Whom::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As kubectl 1.20.2 and Calico 3.21.2 show them, without what nobody reads.
    fn read(kind: &str, group: &str, namespace: &str, spec: &Value) -> Option<Isolation> {
        let metadata = serde_json::json!({"name": "one", "namespace": namespace});
        let metadata = if namespace.is_empty() { serde_json::json!({"name": "default.one"}) } else { metadata };
        let api = format!("{group}/v1");
        Isolation::read(&serde_json::json!({"apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec}))
    }

    #[test]
    fn a_policy_is_for_whom_it_selects() {
        let own = |spec: Value| read("NetworkPolicy", "networking.k8s.io", "default", &spec);
        let probe = ("app", "calicolab-probe");
        let all =
            own(serde_json::json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})).expect("it isolates");
        assert_eq!(all.ways, ["Ingress", "Egress"]);
        assert!(all.is_for("default", probe) && !all.is_for("other", probe));
        let labelled = |label: &str| own(serde_json::json!({"podSelector": {"matchLabels": {"app": label}}}));
        assert!(labelled("calicolab-probe").expect("it isolates").is_for("default", probe));
        assert!(!labelled("web").expect("it isolates").is_for("default", probe));
        let open = serde_json::json!({"podSelector": {}, "ingress": [{}], "policyTypes": ["Ingress"]});
        assert_eq!(own(open), None);
    }

    #[test]
    fn calicos_own_are_read_where_their_selector_is_all() {
        let global = |spec: Value| read("GlobalNetworkPolicy", "crd.projectcalico.org", "", &spec);
        let probe = ("app", "calicolab-probe");
        let all = global(serde_json::json!({"selector": "all()", "types": ["Ingress"]})).expect("it isolates");
        assert!(all.is_for("default", probe) && all.kind.starts_with("globalnetworkpolicies"));
        let some = global(serde_json::json!({"selector": "app == 'web'"})).expect("it isolates");
        assert!(!some.is_for("default", probe));
        let open = serde_json::json!({"types": ["Egress"], "egress": [{"action": "Allow"}]});
        assert_eq!(global(open), None);
        assert_eq!(read("Pod", "", "default", &Value::Null), None);
    }
}
