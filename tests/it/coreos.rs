//! The lab of 2016: what its machines are told is what CoreOS read, its units are systemd's, its plan is the tutorials'.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use calicolab::cmd::labs;
use calicolab::lab::builtin::Library;
use calicolab::lab::name::LabName;
use calicolab::lab::pin::Source;
use calicolab::lab::plan::{LabNet, Plan, plan};
use calicolab::lab::render::{self, HostKey, Reader, Secrets};
use serde_json::Value;

fn planned() -> Plan {
    let name: LabName = "coreos-0.15".parse().expect("a name");
    let (lab, lock) = labs::read(&Library::open(None).expect("own"), &name, &[], None).expect("it is right");
    let net = LabNet(lab.network.lab.expect("it insists on one"));
    plan(&lab, &lock, &"coreos".parse().expect("a name"), net)
}

/// What each node is told, in the plan's order.
fn told(plan: &Plan) -> Vec<String> {
    let secrets = Secrets {
        authorized_key: "ssh-ed25519 AAAA user".into(),
        host_keys: plan.nodes.map(|_, _| HostKey { private: "KEY\n".into(), public: "ssh-ed25519 BBBB".into() }),
        instance_ids: plan.nodes.map(|node, _| format!("0123-{node}")),
        join: None,
    };
    let seeds =
        render::seeds(plan, Reader { user: "core", cloud_init: true }, &secrets, &Library::open(None).expect("own"))
            .expect("rendered");
    seeds.values().map(|seed| seed.user_data.clone()).collect()
}

fn parsed(user_data: &str) -> Value {
    serde_saphyr::from_str(user_data).expect("YAML")
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().expect("a group of keys").keys().map(String::as_str).collect()
}

/// No program that reads this format can be had from Debian: these are its keys, by coreos-cloudinit's documentation.
#[test]
fn only_keys_that_coreos_knew_are_used() {
    const TOP: [&str; 7] =
        ["hostname", "ssh_authorized_keys", "users", "write_files", "manage_etc_hosts", "coreos", ""];
    const COREOS: [&str; 7] = ["etcd", "etcd2", "flannel", "fleet", "locksmith", "units", "update"];
    const UNIT: [&str; 7] = ["name", "runtime", "enable", "content", "command", "mask", "drop-ins"];
    const FILE: [&str; 5] = ["path", "content", "owner", "permissions", "encoding"];
    const ETCD2: [&str; 8] = [
        "name",
        "proxy",
        "listen-client-urls",
        "advertise-client-urls",
        "listen-peer-urls",
        "initial-advertise-peer-urls",
        "initial-cluster",
        "discovery",
    ];
    for user_data in told(&planned()) {
        assert_eq!(user_data.lines().next(), Some("#cloud-config"));
        let all = parsed(&user_data);
        let known = |value: &Value, words: &[&str]| {
            let strange: Vec<&str> = keys(value).into_iter().filter(|key| !words.contains(key)).collect();
            assert!(strange.is_empty(), "{strange:?}");
        };
        known(&all, &TOP);
        known(&all["coreos"], &COREOS);
        known(&all["coreos"]["etcd2"], &ETCD2);
        known(&all["coreos"]["update"], &["reboot-strategy", "group", "server"]);
        all["coreos"]["units"].as_array().expect("units").iter().for_each(|unit| known(unit, &UNIT));
        all["write_files"].as_array().expect("files").iter().for_each(|file| known(file, &FILE));
        // YAML 1.1 takes some bare words for switches, numbers with a zero in front for octal ones.
        let words = all["coreos"]["etcd2"].as_object().expect("keys").values();
        assert!(words.chain([&all["coreos"]["update"]["reboot-strategy"]]).all(Value::is_string), "{user_data}");
        for file in all["write_files"].as_array().expect("files") {
            assert!(file["permissions"].is_string(), "{file}");
        }
    }
}

/// systemd's own judgement, over a tree in which every program is there.
#[test]
fn units_are_accepted_by_systemd() {
    for user_data in told(&planned()) {
        let all = parsed(&user_data);
        let root = tempfile::tempdir().expect("a folder");
        let folder = root.path().join("etc/systemd/system");
        fs::create_dir_all(&folder).expect("made");
        let mut files = Vec::new();
        for unit in all["coreos"]["units"].as_array().expect("units") {
            let name = unit["name"].as_str().expect("a name");
            let Some(content) = unit["content"].as_str().filter(|_| name.ends_with(".service")) else { continue };
            fs::write(folder.join(name), content).expect("written");
            files.push(folder.join(name));
            for program in content.lines().filter_map(|line| line.strip_prefix("Exec")?.split_once('=')) {
                let path = program.1.split_ascii_whitespace().next().expect("a program");
                put(&root.path().join(path.trim_start_matches('/')), 0o755, "");
            }
        }
        assert!(files.len() >= 3, "{user_data}");
        for target in ["basic", "sysinit", "shutdown", "network", "network-online", "multi-user"] {
            put(&folder.join(format!("{target}.target")), 0o644, "[Unit]\nDefaultDependencies=no\n");
        }
        let root_flag = format!("--root={}", root.path().display());
        let mut verify = Command::new("systemd-analyze");
        let out = verify.args(["verify", "--man=no", &root_flag]).args(&files).output().expect("systemd");
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success() && said.trim().is_empty(), "{said}");
    }
}

fn put(path: &Path, mode: u32, text: &str) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(path, text).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
}

/// Every word the servers were started with, beside what the README says was left out.
#[test]
fn the_flags_are_those_of_2016() {
    let told = told(&planned());
    let flags = |user_data: &str, unit: &str| -> BTreeSet<String> {
        let all = parsed(user_data);
        let units = all["coreos"]["units"].as_array().expect("units");
        let unit = units.iter().find(|one| one["name"] == unit).expect("the unit");
        let lines = unit["content"].as_str().expect("text").lines().filter(|line| !line.starts_with('#'));
        lines
            .flat_map(str::split_ascii_whitespace)
            .filter_map(|word| Some(word.strip_prefix("--")?.split('=').next()?.to_owned()))
            .collect()
    };
    let wanted = |words: &str| words.split_ascii_whitespace().map(str::to_owned).collect::<BTreeSet<_>>();
    let (master, node) = (&told[0], &told[1]);
    assert_eq!(
        flags(master, "kube-apiserver.service"),
        wanted(
            "allow-privileged etcd-servers admission-control insecure-bind-address advertise-address \
             service-account-key-file tls-cert-file tls-private-key-file client-ca-file service-cluster-ip-range \
             kubelet-https secure-port runtime-config logtostderr"
        )
    );
    assert_eq!(
        flags(master, "kube-controller-manager.service"),
        wanted("master service-account-private-key-file root-ca-file logtostderr")
    );
    assert_eq!(flags(master, "kube-scheduler.service"), wanted("master logtostderr"));
    let shared = "allow-privileged config cluster-dns cluster-domain hostname-override network-plugin \
        network-plugin-dir pod-infra-container-image api-servers logtostderr";
    assert_eq!(flags(master, "kubelet.service"), wanted(&format!("{shared} register-node")));
    assert_eq!(flags(node, "kubelet.service"), wanted(&format!("{shared} address")));
    for user_data in [master, node] {
        assert_eq!(flags(user_data, "kube-proxy.service"), wanted("master proxy-mode logtostderr"));
        assert_eq!(flags(user_data, "calico-node.service"), wanted("ip detach"));
    }
}

/// What a field of an object of Kubernetes 1.1 may hold, by the documentation of its API `v1`, as far as it is used.
const FIELDS: [(&str, &str); 15] = [
    ("Namespace", "apiVersion kind metadata spec"),
    ("Service", "apiVersion kind metadata spec"),
    ("ReplicationController", "apiVersion kind metadata spec"),
    ("Pod", "apiVersion kind metadata spec"),
    ("metadata", "name generateName namespace labels annotations"),
    ("Service.spec", "ports selector clusterIP type externalIPs sessionAffinity loadBalancerIP"),
    ("Service.ports", "name protocol port targetPort nodePort"),
    ("ReplicationController.spec", "replicas selector template"),
    ("template", "metadata spec"),
    (
        "Pod.spec",
        "volumes containers restartPolicy terminationGracePeriodSeconds activeDeadlineSeconds dnsPolicy nodeSelector \
         serviceAccountName nodeName hostNetwork hostPID hostIPC securityContext imagePullSecrets",
    ),
    (
        "containers",
        "name image command args workingDir ports env resources volumeMounts livenessProbe readinessProbe lifecycle \
         terminationMessagePath imagePullPolicy securityContext stdin stdinOnce tty",
    ),
    ("Pod.ports", "name hostPort containerPort protocol hostIP"),
    // periodSeconds and the thresholds came with 1.2.
    ("probe", "exec httpGet tcpSocket initialDelaySeconds timeoutSeconds"),
    ("volumeMounts", "name readOnly mountPath"),
    ("volumes", "name hostPath emptyDir secret nfs gitRepo"),
];

#[track_caller]
fn of_its_age(what: &str, value: &Value) {
    let (_, fields) = FIELDS.iter().find(|(name, _)| *name == what).expect("a kind that is used");
    let known: Vec<&str> = fields.split_ascii_whitespace().collect();
    let strange: Vec<&str> = keys(value).into_iter().filter(|key| !known.contains(key)).collect();
    assert!(strange.is_empty(), "{what} of 1.1 has no {strange:?}");
}

fn each<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

fn pod_of_its_age(spec: &Value) {
    of_its_age("Pod.spec", spec);
    each(spec, "volumes").for_each(|volume| of_its_age("volumes", volume));
    let volumes: BTreeSet<&str> = each(spec, "volumes").filter_map(|volume| volume["name"].as_str()).collect();
    for container in each(spec, "containers") {
        of_its_age("containers", container);
        each(container, "ports").for_each(|port| of_its_age("Pod.ports", port));
        for mount in each(container, "volumeMounts") {
            of_its_age("volumeMounts", mount);
            assert!(volumes.contains(mount["name"].as_str().expect("a name")), "{mount}");
        }
        for probe in ["livenessProbe", "readinessProbe"].map(|probe| &container[probe]).iter().filter(|p| !p.is_null())
        {
            of_its_age("probe", probe);
        }
    }
}

#[test]
fn manifests_have_the_fields_of_their_age() {
    let all = render::manifests(&planned(), &Library::open(None).expect("own")).expect("rendered");
    let mut kinds = Vec::new();
    for object in all.iter().flat_map(|(_, text)| serde_saphyr::from_multiple::<Value>(text).expect("YAML")) {
        let kind = object["kind"].as_str().expect("a kind").to_owned();
        assert_eq!(object["apiVersion"], "v1");
        of_its_age(&kind, &object);
        of_its_age("metadata", &object["metadata"]);
        let spec = &object["spec"];
        match kind.as_str() {
            "Service" => {
                of_its_age("Service.spec", spec);
                each(spec, "ports").for_each(|port| of_its_age("Service.ports", port));
            }
            "ReplicationController" => {
                of_its_age("ReplicationController.spec", spec);
                of_its_age("template", &spec["template"]);
                of_its_age("metadata", &spec["template"]["metadata"]);
                let labels = &spec["template"]["metadata"]["labels"];
                for (key, value) in spec["selector"].as_object().expect("a selector") {
                    assert_eq!(&labels[key], value, "the selector finds the controller's own pods");
                }
                pod_of_its_age(&spec["template"]["spec"]);
            }
            "Pod" => pod_of_its_age(spec),
            _ => {}
        }
        kinds.push(kind);
    }
    kinds.sort_unstable();
    assert_eq!(kinds, ["Namespace", "Pod", "ReplicationController", "ReplicationController", "Service", "Service"]);
}

/// The addresses of the tutorials, for people.
#[test]
fn the_plan_is_the_tutorials() {
    let plan = planned();
    let checks: Vec<String> =
        calicolab::proof::expect::expect(&plan).iter().map(|check| check.id().to_string()).collect();
    let text = calicolab::cmd::plan::text(&plan, &checks, None, None);
    // Of the artifacts nothing: their hosts stand in the lab's own files alone.
    let (before, rest) = text.split_once("ARTIFACT").expect("a list");
    let (_, after) = rest.split_once(" checks:\n").expect("a list");
    let shown: Vec<&str> = before.lines().chain(after.lines().filter(|line| line.starts_with("  "))).collect();
    insta::assert_snapshot!("plan", shown.join("\n").trim_end());
    let images = render::manifests(&plan, &Library::open(None).expect("own")).expect("rendered");
    let told = told(&plan).concat() + &images.into_iter().map(|(_, text)| text + "---\n").collect::<String>();
    // Hosts of images stand in the lab's own files alone.
    let pinned = plan.artifacts.iter().map(|placed| &placed.pin.source);
    let hosts = pinned.chain(plan.missing.iter().map(|wanted| &wanted.source)).filter_map(|source| match source {
        Source::Oci { reference } => reference.split_once('/').map(|(host, _)| host),
        Source::Apt { .. } | Source::Url { .. } => None,
    });
    insta::assert_snapshot!("told", hosts.fold(told, |told, host| told.replace(host, "registry.example")));
}
