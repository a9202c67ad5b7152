//! The only way into a node: SSH that is strict from the first connection.

pub mod client;
mod error;
mod exec;
pub mod keys;
mod put;
mod remote;
mod session;
mod wire;

pub use error::SshError;
pub use exec::{Input, OUTPUT_CAP};
pub use put::{Content, Upload};
pub use remote::Remote;

#[cfg(test)]
pub(crate) mod tests {
    //! Nodes for the tests of this folder.

    use crate::guest::Target;
    use crate::lab::name::PerNode;

    /// Three nodes.
    pub(crate) fn nodes() -> PerNode<u16> {
        serde_json::from_str(r#"[["calico-01", 2201], ["calico-02", 2202], ["calico-03", 2203]]"#).expect("as saved")
    }

    /// How they would be reached.
    pub(crate) fn targets() -> PerNode<Target> {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBmAsP5tnMLHBzOz0MTmg3ONgd5XoyHBBMZ5GVjXB9vL comment";
        nodes().map(|_, port| Target {
            addr: ([127, 0, 0, 1], *port).into(),
            user: "core".into(),
            host_key: key.into(),
        })
    }
}
