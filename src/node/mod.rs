//! What runs on a node: how it is asked, and its answer as a value; pure.

pub mod alive;
pub mod bird;
pub mod bird_conf;
pub mod calicoctl;
pub mod certificate;
pub mod container;
pub mod etcd;
pub mod files;
pub mod firewall;
pub mod identity;
pub mod image;
pub mod iptables;
pub mod kube;
pub mod kubeconfig;
pub mod link;
pub mod plain;
pub mod policy;
pub mod pool;
pub mod process;
pub mod reach;
pub mod resolver;
pub mod route;
pub mod socket;
pub mod unit;
