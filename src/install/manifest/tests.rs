//! Edits of small manifests in the shape of the eras' own.

use super::*;

/// Objects as the hosted manifests of 2017 and 2018 have them: a secret that holds nothing but comments, JSON in a text.
const HOSTED: &str = r#"
# A comment.
kind: ConfigMap
apiVersion: v1
metadata: {name: calico-config, namespace: kube-system}
data:
  etcd_endpoints: "http://127.0.0.1:2379"
  cni_network_config: |-
    {
      "name": "k8s-pod-network",
      "plugins": [
        {"type": "calico", "etcd_endpoints": "__ETCD_ENDPOINTS__", "mtu": 1500},
        {"type": "portmap", "snat": true}
      ]
    }
---
---
apiVersion: v1
kind: Secret
metadata: {name: calico-etcd-secrets}
data:
  # etcd-key: null
---
apiVersion: extensions/v1beta1
kind: DaemonSet
metadata: {name: calico-node}
spec:
  template:
    spec:
      containers:
        - name: calico-node
          image: registry.example/calico/node:v3.0.3
          env:
            - {name: CALICO_IPV4POOL_CIDR, value: 192.168.0.0/16}
            - name: CALICO_NETWORKING_BACKEND
              valueFrom: {configMapKeyRef: {name: calico-config, key: calico_backend}}
        - name: install-cni
          image: registry.example/calico/cni:v2.0.1
      volumes:
        - name: etcd-certs
          secret: {secretName: calico-etcd-secrets, defaultMode: 0400}
"#;

fn edited(files: &[Upstream<'_>], edits: &[Edit], images: &[String]) -> Result<Vec<Edited>, EditError> {
    super::edited(files, edits, images, &[])
}

fn images() -> Vec<String> {
    ["other.example/calico/node:v3.0.3", "registry.example/calico/cni:v2.0.1"].map(str::to_owned).into()
}

fn edit(edits: &[Edit]) -> Result<Vec<EditedObject>, EditError> {
    let files = [Upstream { name: "calico.yaml", text: HOSTED }];
    Ok(edited(&files, edits, &images())?.remove(0).objects)
}

fn after(edits: &[Edit], object: &str) -> String {
    let objects = edit(edits).expect("edited");
    objects.into_iter().find(|one| one.object.to_string() == object).expect("there").after
}

fn refused(edits: &[Edit]) -> String {
    edit(edits).expect_err("refused").to_string()
}

const POOL: &str = "spec.template.spec.containers[calico-node].env[CALICO_IPV4POOL_CIDR]";

#[test]
fn places_are_found_by_path_and_name() {
    let pool = Edit::set("DaemonSet/calico-node", &format!("{POOL}.value"), "10.244.0.0/16");
    let mtu = Edit::set("ConfigMap/calico-config", "data.cni_network_config.(json).plugins[calico].mtu", 1480);
    let key = Edit::put("Secret/calico-etcd-secrets", "data.etcd-key", "S0VZ");
    let all = [pool, mtu, key];
    insta::assert_snapshot!(
        edited(&[Upstream { name: "calico.yaml", text: HOSTED }], &all, &images()).expect("edited")[0].text()
    );
}

#[test]
fn what_is_written_is_read_as_the_same() {
    let texts = [
        "a\nb",
        "a\nb\n",
        "a\n\nb\n\n",
        "  a\nb",
        "a\n  b \n c",
        "\n",
        "a\tb\nc",
        "# a\n---\nb",
        "é\nb",
        "0400",
        "on",
        "1e3",
        "~",
        "",
    ];
    let value = serde_json::json!({"kind": "A", "metadata": {"name": "a"}, "data": texts});
    let out = edited(&[Upstream { name: "x", text: &value.to_string() }], &[], &[]).expect("read");
    let again: serde_json::Value = serde_saphyr::from_str(&out[0].objects[0].after).expect("YAML");
    assert_eq!(again, value);
}

#[test]
fn a_variable_that_stands_for_another_source_gets_a_value_instead() {
    let backend = "spec.template.spec.containers[calico-node].env[CALICO_NETWORKING_BACKEND]";
    let value = serde_json::json!({"name": "CALICO_NETWORKING_BACKEND", "value": "vxlan"});
    let text = after(&[Edit::put("DaemonSet/calico-node", backend, value)], "DaemonSet/calico-node");
    assert!(text.contains("value: 'vxlan'") && !text.contains("valueFrom"), "{text}");
}

#[test]
fn a_placeholder_without_quotes_stays_one() {
    let text = "kind: ConfigMap\nmetadata: {name: c}\ndata:\n  cni: '{\"mtu\": __CNI_MTU__, \"a\": \"__A__ \\\" __B__\", \"level\": \"info\"}'\n";
    let edits = [Edit::set("ConfigMap/c", "data.cni.(json).level", "debug")];
    let out = edited(&[Upstream { name: "c", text }], &edits, &[]).expect("edited");
    let value: serde_json::Value = serde_saphyr::from_str(&out[0].objects[0].after).expect("YAML");
    let cni = value["data"]["cni"].as_str().expect("a text");
    assert!(cni.contains("\"mtu\": __CNI_MTU__"), "{cni}");
    assert!(cni.contains(r#""a": "__A__ \" __B__""#) && cni.contains("\"level\": \"debug\""), "{cni}");
}

#[test]
fn what_is_there_no_more_is_named_with_what_is() {
    let messages = [
        Edit::set("DaemonSet/calico-nodes", "spec.x", 1),
        Edit::set("StatefulSet/x", "spec.x", 1),
        Edit::set(
            "DaemonSet/calico-node",
            "spec.template.spec.containers[calico-node].env[CALICO_IPV4POOL_CDIR].value",
            "x",
        ),
        Edit::set("DaemonSet/calico-node", "spec.template.spec.initContainers[install-cni].image", "x"),
        Edit::set("ConfigMap/calico-config", "data.veth_mtu", "1480"),
        Edit::put("ConfigMap/calico-config", "date.veth_mtu", "1480"),
        Edit::set("ConfigMap/calico-config", "data[veth_mtu]", "1480"),
        Edit::set("ConfigMap/calico-config", "data.etcd_endpoints.(json).a", "1480"),
        Edit::set("ConfigMap/calico-config", "data.cni_network_config.(json).plugins[calcio].mtu", 1),
        Edit::set("ConfigMap/calico-config", "data.cni_network_config.(json).plugins[2].mtu", 1),
    ]
    .map(|edit| refused(&[edit]));
    insta::assert_snapshot!(messages.join("\n"));
}

#[test]
fn an_image_that_no_node_has_is_named() {
    let files = [Upstream { name: "calico.yaml", text: HOSTED }];
    let error = edited(&files, &[], &["registry.example/calico/node:v3.0.4".into()]).expect_err("another tag");
    assert_eq!(
        error.to_string(),
        "DaemonSet/calico-node wants the image `registry.example/calico/node:v3.0.3` for its container `calico-node`, \
         which the lab brings to no node; `registry.example/calico/node:v3.0.4` is there"
    );
}

#[test]
fn what_is_no_object_is_refused_with_its_place() {
    for (text, told) in [
        ("kind: ConfigMap\n", "document 1 of `x` has no `metadata.name`"),
        ("a: 1\n---\nb: 1\n", "document 1 of `x` has no `kind`"),
        ("a: [\n", "`x` is no YAML"),
        ("kind: A\nkind: B\n", "`x` is no YAML"),
        ("kind: A\nmetadata: {name: a}\n---\nkind: A\nmetadata: {name: a}\n", "A/a stands twice: in `x` and in `x`"),
    ] {
        assert_eq!(edited(&[Upstream { name: "x", text }], &[], &[]).expect_err(text).to_string(), told);
    }
}

#[test]
fn an_image_of_ones_own_takes_the_place_of_the_one_that_is_asked_for() {
    let text = r#"{"kind": "Pod", "metadata": {"name": "one"}, "spec": {"containers": [
        {"name": "a", "image": "docker.io/calico/node:v3.21.2"}, {"name": "b", "image": "other:1"}]}}"#;
    let own = Instead { image: "quay.example/calico/node:v3.21.2".into(), by: "me/node:dev".into() };
    let out = super::edited(&[Upstream { name: "x", text }], &[], &["docker.io/library/other:1".into()], &[own]);
    let after = &out.expect("edited")[0].objects[0].after;
    assert!(after.contains("me/node:dev") && !after.contains("calico/node"), "{after}");
}
