//! Another key to log in with for machines that were brought back beside their lab.

use std::fs;
use std::path::Path;

use crate::cmd::cx::ANSWER;
use crate::command::Argv;
use crate::failure::{Exit, Failure};
use crate::lab::name::PerNode;
use crate::machine::Machine;
use crate::ssh::Remote;
use crate::ssh::keys::ClusterKeys;

/// Puts one key (`$1`) for another (`$2`) with root and the user (`$3`), and fails where that user's list does not have it
/// then.
const CHANGE: &str = r#"
for who in root "$3"; do
	list=$(getent passwd "$who" | cut -d: -f6)/.ssh/authorized_keys
	if [ -e "$list" ]; then sed -i "s|$1|$2|" "$list"; fi
done
grep -qF "$2" "$list""#;

/// Have the machines let in who has the cluster's own key, and no longer who has the one at `old`.
pub(super) async fn change_key(machines: &PerNode<Machine>, old: &Path, keys: &ClusterKeys) -> Result<(), Failure> {
    let failed = |node: &str| Failure::new(Exit::Boot, "point.key", format!("give {node} another key"));
    let public =
        fs::read_to_string(old.with_extension("pub")).map_err(|error| failed("the machines").because(&error))?;
    let (Some(then), Some(now)) = (blob(&public), blob(keys.authorized_key())) else {
        return Err(failed("the machines").because_text(format!("{} holds none", old.display())));
    };
    machines
        .try_join(async |node, machine| {
            let failed = || failed(node.as_str());
            let remote = Remote::connect(&machine.target, node, old, ANSWER).await;
            let remote = remote.map_err(|error| failed().because(&error))?;
            let argv = Argv::new("sh").args(["-c", CHANGE, "sh", then, now]).arg(&machine.target.user).sudo();
            let output = remote.run(&argv, ANSWER).await.map_err(|error| failed().because(&error))?;
            if output.ok() { Ok(()) } else { Err(failed().because_text(output.tail(3))) }
        })
        .await
        .map(drop)
}

/// The key itself out of `ssh-ed25519 AAAA… comment`.
fn blob(public: &str) -> Option<&str> {
    public.split_whitespace().nth(1)
}
