//! What nodes read, rendered from plans and secrets, and templates that are wrong.

use std::fs;

use super::super::file::tests::primer;
use super::super::pin::Lock;
use super::super::plan::{LabNet, plan};
use super::*;

/// A library whose cloud-config is made of these files.
fn library(files: &[(&str, &str)]) -> (tempfile::TempDir, Library) {
    let dir = tempfile::tempdir().expect("a folder");
    for (path, text) in files {
        let path = dir.path().join("cloud-config").join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    }
    let library = Library::open(Some(dir.path().into())).expect("a library");
    (dir, library)
}

/// Who reads it: an image that needs no words for its cards.
const OWN: Reader<'_> = Reader { user: "debian", cloud_init: false };

fn planned() -> Plan {
    planned_for(&[])
}

fn planned_for(sets: &[&str]) -> Plan {
    let net = LabNet("198.18.7.0/24".parse().expect("a range"));
    plan(&primer(sets), &Lock::empty(), &"demo".parse().expect("a name"), net)
}

fn secrets(plan: &Plan) -> Secrets {
    Secrets {
        authorized_key: "ssh-ed25519 AAAA user".into(),
        host_keys: plan
            .nodes
            .map(|name, _| HostKey { private: format!("KEY\n{name}\n"), public: "ssh-ed25519 BBBB".into() }),
        instance_ids: plan.nodes.map(|name, _| format!("{name}-1")),
        join: None,
    }
}

fn rendered(master: &str, parts: &[(&str, &str)]) -> Result<PerNode<SeedTexts>, String> {
    let mut files = vec![("primer/master.yaml", master), ("primer/node.yaml", "#cloud-config\n{}\n")];
    files.extend(parts);
    let (dir, library) = library(&files);
    let plan = planned();
    let root = format!("{}/", dir.path().display());
    seeds(&plan, OWN, &secrets(&plan), &library).map_err(|error| chain(&error).replace(&root, ""))
}

#[test]
fn a_template_sees_the_whole_cluster() {
    let master = r#"#cloud-config
hostname: {{ node.name }}
users:
  - {name: {{ user }}, ssh_authorized_keys: [{{ authorized_key | yaml }}]}
ssh_keys:
  ed25519_private: |
    {{ host_key_private | indent(4) }}
  ed25519_public: {{ host_key_public }}
write_files:
{% for other in nodes %}
  - path: /etc/{{ other.name }}
    content: {{ (other.address ~ " " ~ other.block ~ " " ~ other.role) | json }}
{% if other.dns_pod %}
    dns: {{ other.dns_pod }}
{% endif %}
{% endfor %}
  - path: /x
    content: |
{% filter indent(6, true) %}{% include "parts/bird.conf" %}{% endfilter %}

  - path: /y
    content: |
      {{ file("parts/run.sh") | indent(6) }}
net: [{{ net.pods }}, {{ net.mtu }}, {{ node.address }}/{{ node.prefix_len }}, {{ bgp.timers }}, {{ bgp.asn }}]
ids: [{{ cluster }}, {{ lab }}, {{ instance_id }}, {{ master.name }}]
odd: {{ "tab	é ☃ 😀 \"q\" {{x}}" | yaml }}
"#;
    let bird = "router id {{ node.address }};\n{% for peer in node.peers %}\nneighbor {{ peer.address }}{{ ' passive' if peer.passive }};\n{% endfor %}\n";
    let script = "#!/bin/sh\nx=1\n\necho ${#x} {{ not a template }}\n";
    let texts = rendered(master, &[("primer/parts/bird.conf", bird), ("parts/run.sh", script)]).expect("right");
    let master = texts.values().next().expect("the master");
    insta::assert_snapshot!(format!("{}--- meta-data\n{}", master.user_data, master.meta_data));
    let tree: serde_json::Value = serde_saphyr::from_str(&master.user_data).expect("YAML");
    assert_eq!(tree["write_files"][4]["content"], script, "a file is embedded as it is");
    assert_eq!(tree["odd"], "tab\té ☃ 😀 \"q\" {{x}}");
    assert_eq!(tree["ssh_keys"]["ed25519_private"], "KEY\ncalico-01\n");
}

/// Title, master's template, and parts.
type Case = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

#[test]
fn what_is_wrong_in_a_template_has_file_and_line() {
    let include = "#cloud-config\na: {% include 'parts/p' %}\n";
    let cases: &[Case] = &[
        ("undefined", "#cloud-config\na: 1\nb: {{ node.adress }}\n", &[]),
        ("undefined, nested", "#cloud-config\nb: {{ nod.address }}\n", &[]),
        ("undefined in a condition", "#cloud-config\n{% if nodes.x %}a: 1{% endif %}\n", &[]),
        ("syntax", "#cloud-config\n{% for %}\n", &[]),
        ("unknown filter", "#cloud-config\na: {{ user | quote }}\n", &[]),
        ("no such part", "#cloud-config\n\n\na: {% include 'parts/none' %}\n", &[]),
        ("no such file", "#cloud-config\n\na: {{ file('parts/none') }}\n", &[]),
        ("a way out", "#cloud-config\na: {{ file('../../../etc/passwd') }}\n", &[]),
        ("in a part of the flavour", include, &[("primer/parts/p", "x\n{{ oops }}\n")]),
        ("in a shared part", include, &[("parts/p", "{{ 1 + 'a' }}\n")]),
        ("no YAML", "#cloud-config\na: [1\nb: {{ user }}\n", &[]),
        ("keys twice", "#cloud-config\na: {b: 1, b: 2}\na: 2\n", &[]),
        ("no group", "#cloud-config\n- a\n", &[]),
        ("no first line", "\n#cloud-config\na: 1\n", &[]),
    ];
    let told = cases
        .iter()
        .map(|(title, master, parts)| format!("# {title}\n{}\n", rendered(master, parts).expect_err(title)))
        .collect::<Vec<_>>()
        .join("\n");
    insta::assert_snapshot!(told);
}

#[test]
fn secrets_do_not_show_themselves() {
    let texts = rendered("#cloud-config\na: {{ host_key_private | json }}\n", &[]).expect("right");
    assert!(!format!("{texts:?}").contains("KEY"));
}

#[test]
fn the_primer_renders_for_every_number_of_nodes() {
    for count in 2..=9 {
        let plan = planned_for(&[&format!("--nodes {count}")]);
        let seeds = seeds(&plan, OWN, &secrets(&plan), &Library::open(None).expect("the binary's own"));
        for (node, texts) in seeds.expect("the templates carried in the binary").iter() {
            let tree: serde_json::Value = serde_saphyr::from_str(&texts.user_data).expect("YAML");
            assert_eq!(tree["hostname"], node.as_str());
            for file in tree["write_files"].as_array().expect("files") {
                let content = file["content"].as_str().expect("text");
                assert!(content.ends_with('\n') && !content.starts_with(' '), "{}", file["path"]);
            }
        }
    }
}
