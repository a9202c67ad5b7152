//! The user key of a cluster, the host keys of its nodes, and the known_hosts file made from them.
