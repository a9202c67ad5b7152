//! The rules of Kubernetes on recorded evidence: a healthy lab of three nodes, changed as each kind of failure changes it.

use super::*;

fn kubernetes() -> Case {
    Case {
        plan: serde_json::from_str(include_str!("../samples/kubernetes-plan.json")).expect("a plan"),
        evidence: serde_json::from_str(include_str!("../samples/kubernetes.json")).expect("evidence"),
    }
}

/// The name of a node of that lab.
fn kube(index: usize) -> NodeName {
    format!("kube-0{index}").parse().expect("a name")
}

impl Case {
    fn told(&mut self, index: usize, what: What) -> &mut Output {
        let Some(Told::Answers(answers)) = self.evidence.nodes.get_mut(&kube(index)) else { panic!("it answered") };
        answers.get_mut(&what).expect("it was asked")
    }

    /// A text that must be there, replaced in all its places.
    #[track_caller]
    fn with(mut self, index: usize, what: What, from: &str, to: &str) -> Self {
        let output = self.told(index, what);
        assert!(output.stdout.contains(from), "{what:?} of {index} has no {from:?}: {}", output.stdout);
        output.stdout = output.stdout.replace(from, to);
        self
    }

    /// The objects of the API server, changed.
    fn objects(mut self, change: impl FnOnce(&mut Vec<serde_json::Value>)) -> Self {
        let output = self.told(1, What::Objects);
        let mut all: serde_json::Value = serde_json::from_str(&output.stdout).expect("JSON");
        change(all["items"].as_array_mut().expect("a list"));
        output.stdout = all.to_string();
        self
    }

    /// A daemon of a node that is not there.
    fn without(mut self, index: usize, daemon: &str) -> Self {
        let output = self.told(index, What::Processes);
        let left: Vec<&str> = output.stdout.lines().filter(|line| !line.ends_with(&format!(" {daemon}"))).collect();
        assert!(left.len() < output.stdout.lines().count(), "{daemon} was not there");
        output.stdout = left.join("\n");
        self
    }

    /// kubectl gets no answer.
    fn refused(mut self) -> Self {
        let stderr = "The connection to the server 198.18.240.11:6443 was refused".into();
        *self.told(1, What::Objects) = Output { ended: Ended::Exit(1), stdout: r#"{"items": []}"#.into(), stderr };
        self.fails("registered.kube-02", "the API server did not list its nodes")
    }

    fn not_ready(self, index: usize, why: &str) -> Self {
        let id = format!("registered.kube-0{index}");
        self.objects(|all| {
            let node =
                all.iter_mut().find(|one| one["kind"] == "Node" && one["metadata"]["name"] == kube(index).as_str());
            let conditions = node.expect("it is known")["status"]["conditions"].as_array_mut().expect("a list");
            let ready = conditions.iter_mut().find(|one| one["type"] == "Ready").expect("it says so");
            ready["status"] = "False".into();
            ready["message"] = why.into();
        })
        .fails(&id, &format!("not Ready: {why}"))
    }

    /// What the containers of the pods whose names begin so wait for.
    fn waits(self, pod: &str, reason: &str, message: &str) -> Self {
        self.objects(|all| {
            let begins =
                |one: &serde_json::Value| one["metadata"]["name"].as_str().is_some_and(|name| name.starts_with(pod));
            let mut pods = all.iter_mut().filter(|one| one["kind"] == "Pod" && begins(one));
            let first = pods.next().expect("such a pod");
            for status in first["status"]["containerStatuses"].as_array_mut().expect("containers") {
                status["ready"] = false.into();
                status["state"] = serde_json::json!({"waiting": {"reason": reason, "message": message}});
            }
        })
    }
}

fn has(cause: &Cause, words: &str) -> bool {
    cause.evidence.iter().any(|side| side.saw.contains(words))
}

#[test]
fn a_healthy_lab_has_no_cause_and_no_warning() {
    let diagnosis = kubernetes().diagnosis();
    assert_eq!(diagnosis.outcome, Outcome::NothingBroken, "{diagnosis:#?}");
    assert!(diagnosis.warnings.is_empty(), "{diagnosis:#?}");
}

#[test]
fn the_control_plane_is_named_before_what_hangs_on_it() {
    let cause = kubernetes().refused().without(1, "kube-apiserver").is("kube-api");
    assert!(has(&cause, "was refused") && cause.remedy.contains("systemctl start kube-apiserver"), "{cause:#?}");
    assert!(kubernetes().refused().without(1, "kube-apiserver").diagnosis().also.is_empty());
    let both = kubernetes().refused().without(1, "kube-apiserver").without(1, "etcd");
    assert_eq!(both.diagnosis().also[0].id, "kube-api");
    both.is("kube-etcd");
    let mut made = kubernetes().refused().without(1, "kube-apiserver");
    made.plan.installer = crate::lab::installer::Installer::Kubeadm;
    assert!(made.is("kube-api").remedy.contains("/etc/kubernetes/manifests/kube-apiserver.yaml"));
    // An API server that is only stopped answers nobody either.
    let hung = kubernetes().refused().with(1, What::Processes, " S kube-apiserver", " T kube-apiserver");
    assert!(hung.is("kube-api").remedy.contains("kill -CONT"));
}

#[test]
fn the_programs_of_a_node_are_named() {
    let lost = "no answer";
    let cause =
        kubernetes().not_ready(2, "Kubelet stopped posting node status.").without(2, "kubelet").is("kubelet-stopped");
    assert!(cause.says.contains("kube-02") && has(&cause, "stopped posting"), "{cause:#?}");
    kubernetes().fails("packet.kube-01.kube-03", lost).without(3, "containerd").is("runtime-stopped");
    // The same with Docker, of which containerd is a child.
    let docker = || {
        let mut stage = kubernetes();
        let carried = crate::lab::example::carried("calico-3.0-etcd", &[]);
        stage.plan.artifacts.extend(carried.artifacts.into_iter().filter(|placed| placed.pin.name == "docker"));
        let runs = |stage: Case, index| stage.with(index, What::Processes, " S containerd", " S dockerd");
        [1, 2, 3].into_iter().fold(stage, runs)
    };
    assert_eq!(docker().diagnosis().outcome, Outcome::NothingBroken);
    let cause = docker().fails("packet.kube-01.kube-03", lost).without(3, "dockerd").is("runtime-stopped");
    assert!(cause.says.contains("Docker on kube-03") && cause.remedy.contains("systemctl start docker"), "{cause:#?}");
    let cause = kubernetes().fails("service-node.kube-02", lost).without(2, "kube-proxy").is("kube-proxy");
    assert!(has(&cause, "are left as they were"), "{cause:#?}");
    // As long as its rules do their work, nothing is broken.
    let spared = kubernetes().without(2, "kube-proxy").diagnosis();
    assert_eq!(spared.outcome, Outcome::NothingBroken);
    assert_eq!(spared.warnings[0].id, "kube-proxy");
}

#[test]
fn pod_networks_are_read_as_kubernetes_does() {
    let missing = |file: &str| {
        let stage = kubernetes().not_ready(3, "network plugin is not ready: cni config uninitialized");
        stage.with(3, What::Files, "cni 10-calico.conflist\n", file)
    };
    let cause = missing("").is("cni-missing");
    assert!(
        has(&cause, "cni config uninitialized") && cause.remedy.contains("delete pod -l k8s-app=calico-node"),
        "{cause:#?}"
    );
    let foreign = kubernetes().fails("packet.kube-03.kube-01", "172.30.9.2 is not in its block");
    let cause = foreign
        .with(3, What::Files, "cni 10-calico.conflist\n", "cni 10-calico.conflist\ncni 00-x.conf\n")
        .is("cni-foreign");
    assert!(cause.says.contains("00-x.conf"), "{cause:#?}");
}

#[test]
fn what_pods_wait_for_is_named() {
    let short = |what: &str| kubernetes().fails(what, "has 2 of 3");
    let lacking = short("daemonsets").waits("calico-node", "ErrImageNeverPull", "Container image \"x\" is not present");
    let cause = lacking.is("image-missing");
    assert!(has(&cause, "ErrImageNeverPull") && cause.remedy.contains("calicolab load"), "{cause:#?}");
    let crashing =
        short("daemonsets").waits("calico-node", "CrashLoopBackOff", "back-off 10s restarting failed container");
    let cause = crashing.is("calico-down");
    assert!(has(&cause, "CrashLoopBackOff") && cause.remedy.contains("logs calico-node-"), "{cause:#?}");
    let none = short("daemonsets").objects(|all| {
        all.retain(|one| one["metadata"]["name"].as_str().is_none_or(|name| !name.starts_with("calico-node-")));
    });
    assert!(none.is("calico-down").says.contains("there is no calico-node"));
    // Stopped, BIRD makes its pod unready: the process is the earlier word.
    let frozen = short("daemonsets").waits("calico-node", "runs and is not ready", "");
    let frozen =
        [1, 2, 3].into_iter().fold(frozen, |stage, index| stage.with(index, What::Processes, " S bird", " T bird"));
    let mut frozen = frozen.fails("session.kube-01.kube-02", "no answer");
    for index in 1..=3 {
        frozen.told(index, What::Bird).stdout.clear();
    }
    frozen.is("bird-hung");
}

#[test]
fn names_are_followed_from_kubelet_to_server() {
    let none = kubernetes().fails("deployments", "cluster-dns has 0 of 0").objects(|all| {
        let dns = |one: &&mut serde_json::Value| one["kind"] == "Endpoints" && one["metadata"]["name"] == "kube-dns";
        all.iter_mut().find(dns).expect("it is there")["subsets"] = serde_json::json!([]);
    });
    let cause = none.is("dns-none");
    assert!(cause.remedy.contains("scale deployment"), "{cause:#?}");
    let wrong = kubernetes().fails("dns.kube-02", "no answer");
    let cause = wrong.with(2, What::Files, "clusterDNS: [10.96.0.10]", "clusterDNS: [10.0.2.3]").is("kube-resolver");
    assert!(cause.says.contains("10.0.2.3") && cause.remedy.contains("kubelet.yaml"), "{cause:#?}");
}

#[test]
fn what_is_registered_is_compared_with_the_plan() {
    let address = kubernetes().plan.nodes[&kube(2)].address.to_string();
    let mut stage = kubernetes().fails("registered.kube-02", "registered as 10.0.2.15");
    let nat = |all: &mut Vec<serde_json::Value>| {
        let node =
            all.iter_mut().find(|one| one["kind"] == "Node" && one["metadata"]["name"] == "kube-02").expect("known");
        let inside = node["status"]["addresses"].as_array_mut().expect("a list");
        inside.iter_mut().filter(|one| one["address"] == *address).for_each(|one| one["address"] = "10.0.2.15".into());
    };
    stage = stage.objects(nat);
    assert!(stage.is("kube-address").says.contains("10.0.2.15"));
    let gone = kubernetes().fails("registered.kube-02", "not known");
    gone.objects(|all| all.retain(|one| one["kind"] != "Node" || one["metadata"]["name"] != "kube-02"))
        .is("kube-unknown");
}

/// The same lab with Calico's own programs, and an object as kubectl shows it.
fn with_calico(object: serde_json::Value) -> Case {
    let mut case = kubernetes().objects(|all| all.push(object));
    case.plan.calico = crate::lab::example::carried_lab("calico-3.21-kdd", &["calico.encapsulation=none"]).calico;
    case
}

fn pool(case: &Case) -> serde_json::Value {
    serde_json::json!({"apiVersion": "crd.projectcalico.org/v1", "kind": "IPPool",
        "metadata": {"name": "default-ipv4-ippool"}, "spec": {"allowedUses": ["Workload", "Tunnel"],
        "blockSize": case.plan.block_len(), "cidr": case.plan.network.pods, "ipipMode": "Never", "natOutgoing": true,
        "nodeSelector": "all()", "vxlanMode": "Never"}})
}

#[test]
fn calicos_pool_is_compared_with_the_plan() {
    let healthy = with_calico(pool(&kubernetes())).diagnosis();
    assert!(healthy.outcome == Outcome::NothingBroken && healthy.warnings.is_empty(), "{healthy:#?}");
    // What is false is not written.
    let mut changed = pool(&kubernetes());
    changed["spec"].as_object_mut().expect("fields").remove("natOutgoing");
    let changed = with_calico(changed).diagnosis();
    assert_eq!(changed.warnings[0].id, "pool-differs", "{changed:#?}");
    assert!(changed.warnings[0].says.contains("NAT is false, planned is true"), "{changed:#?}");
    assert!(changed.warnings[0].remedy.contains("edit ippools.crd.projectcalico.org default-ipv4-ippool"));
}

#[test]
fn a_policy_that_was_left_behind_is_named() {
    let deny = |name: &str, labels: serde_json::Value| {
        serde_json::json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": "default", "labels": labels},
            "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}})
    };
    let left = || {
        let case = with_calico(deny("deny-all", serde_json::Value::Null)).objects(|all| all.push(pool(&kubernetes())));
        case.fails("packet.kube-01.kube-02", "no answer: 100% packet loss")
    };
    let cause = left().is("policy-denies");
    assert!(cause.says.contains("default/deny-all") && has(&cause, "100% packet loss"), "{cause:#?}");
    assert!(cause.remedy.contains("-n default delete networkpolicies.networking.k8s.io deny-all"), "{cause:#?}");
    // The proof's own is removed by the proof.
    let own = deny("policy-1-a-deny", serde_json::json!({"calicolab-policy": "1-a"}));
    let own = with_calico(own).objects(|all| all.push(pool(&kubernetes()))).diagnosis();
    assert!(own.warnings.is_empty(), "{own:#?}");
}

#[test]
fn sessions_that_stand_agree_about_what_nobody_read() {
    let case = kubernetes().fails("packet.kube-01.kube-02", "no answer");
    let diagnosis = case.diagnosis();
    let ids: Vec<&str> = diagnosis.open.iter().map(|open| open.id.as_str()).collect();
    assert!(!ids.contains(&"wrong-as") && !ids.contains(&"password"), "{diagnosis:#?}");
}

#[test]
fn a_plugin_that_gives_pods_no_network_is_quoted() {
    let mut broken = kubernetes().fails("packet.kube-01.kube-02", "no container could be started on kube-01: it ended");
    // Of a real kubelet 1.20.2, where the host's iptables could not read Calico's rules; shortened.
    broken.told(1, What::Journal).stdout.push_str(
        "Nov 22 20:05:25 kube-01 kubelet[678]: E1122 20:05:25.074511 678 kuberuntime_sandbox.go:70] CreatePodSandbox for \
         pod \"x\" failed: rpc error: code = Unknown desc = failed to setup network for sandbox \"121d\": plugin \
         type=\"portmap\" failed (add): failed to list iptables chains: Error: match extension not found\\nError: m\n",
    );
    let cause = broken.is("cni-fails");
    assert!(has(&cause, "portmap") && cause.evidence[0].saw.ends_with("match extension not found"), "{cause:#?}");
    let silent = kubernetes().fails("packet.kube-01.kube-02", "no container could be started on kube-01: it ended");
    assert!(silent.diagnosis().open.iter().any(|open| open.id == "cni-fails"));
}
