//! Faults of Kubernetes: its programs, its images, and what its pods are told.

use super::super::{Fault, Made, Victim};
use crate::lab::installer::For;
use crate::proof::check::Layer;

const fn fault(id: &'static str, seen: Layer, about: &'static str, inject: &'static str, undo: &'static str) -> Fault {
    Fault { labs: For::Kubernetes, ..super::fault(id, seen, about, inject, undo) }
}

/// Made on the master, by whom the whole cluster is told.
const fn at_master(id: &'static str, about: &'static str, inject: &'static str, undo: &'static str) -> Fault {
    Fault { made: Made::AtMaster, victim: Victim::Master, ..fault(id, Layer::Datastore, about, inject, undo) }
}

/// A deployment of the DNS servers, whatever it is called.
macro_rules! dns {
    ($script:literal) => {
        concat!("dns=$(k -n kube-system get deployment -l k8s-app=kube-dns -o name)\n", $script)
    };
}

pub(super) const ALL: &[Fault] = &[
    at_master("kube-etcd", "the API server's datastore is stopped", "part_down etcd", "part_up etcd"),
    at_master("kube-api", "the API server is stopped", "part_down kube-apiserver", "part_up kube-apiserver"),
    // Docker ends its containers when it is stopped, containerd leaves them alone.
    fault(
        "runtime-stopped",
        Layer::Packet,
        "what runs containers (containerd, or the lab's Docker) is stopped",
        r#"systemctl stop "$RUNTIME""#,
        r#"systemctl start "$RUNTIME"; systemctl start kubelet"#,
    ),
    fault(
        "kubelet-stopped",
        Layer::Packet,
        "the kubelet is stopped",
        "systemctl stop kubelet",
        "systemctl start kubelet",
    ),
    Fault {
        symptom: Some(Layer::Service),
        ..at_master(
            "image-missing",
            "the DNS servers are to run an image that nobody has",
            dns!(
                r#"k -n kube-system get "$dns" -o jsonpath='{.metadata.uid}' >"$S/of"
k -n kube-system set image "$dns" '*=registry.example/nowhere:0'
until k get pods -A -o jsonpath='{.items[*].status.containerStatuses[*].state.waiting.reason}' | grep -q Image; do sleep 0.5; done"#
            ),
            dns!(r#"[ ! -s "$S/of" ] || k -n kube-system rollout undo "$dns""#),
        )
    },
    at_master(
        "calico-down",
        "calico-node is told to run nowhere",
        r#"k -n kube-system patch daemonset calico-node -p '{"spec":{"template":{"spec":{"nodeSelector":{"calicolab-fault":"yes"}}}}}'
while k -n kube-system get pods -l k8s-app=calico-node -o name | grep -q .; do sleep 0.5; done"#,
        r#"k -n kube-system patch daemonset calico-node -p '{"spec":{"template":{"spec":{"nodeSelector":{"calicolab-fault":null}}}}}'"#,
    ),
    Fault {
        labs: For::Binaries,
        ..fault(
            "kube-proxy",
            Layer::Service,
            "kube-proxy is stopped, and its rules are gone",
            "systemctl stop kube-proxy; kube-proxy --cleanup --config=/etc/kubernetes/kube-proxy.yaml || :",
            "systemctl start kube-proxy",
        )
    },
    Fault {
        symptom: Some(Layer::Service),
        ..at_master(
            "dns-none",
            "the DNS servers are scaled to none",
            dns!(
                r#"k -n kube-system get "$dns" -o jsonpath='{.spec.replicas}' >"$S/replicas"
k -n kube-system scale "$dns" --replicas=0
until [ -z "$(k -n kube-system get endpoints kube-dns -o jsonpath='{.subsets[*].addresses[*].ip}')" ]; do sleep 0.5; done"#
            ),
            dns!(r#"[ ! -s "$S/replicas" ] || k -n kube-system scale "$dns" --replicas="$(cat "$S/replicas")""#),
        )
    },
    fault(
        "kube-resolver",
        Layer::Name,
        "the kubelet has its pods ask another name server",
        r#"for file in $(kubelet_conf); do keep "$file"; sed -i "s/$DNS/10.0.2.3/" "$file"; done; systemctl restart kubelet"#,
        r#"for file in $(kubelet_conf); do back "$file"; done; systemctl restart kubelet"#,
    ),
];
