//! Programs that only the tests need, and the image's tree as a folder.

use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use calicolab::command::{self, Argv};
use calicolab::machine::{Lack, ProviderError};

use super::failed;

/// Where `scripts/test-programs.sh` unpacks them.
const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/programs/root");

/// Trees, shared by all clusters as the lower folder of their nodes.
const TREES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/nspawn-tree");

/// The program that becomes a container.
pub fn nspawn() -> PathBuf {
    Path::new(PROGRAMS).join("usr/bin/systemd-nspawn")
}

/// Where its libraries are, for LD_LIBRARY_PATH.
pub fn libraries() -> String {
    format!("{PROGRAMS}/usr/lib/x86_64-linux-gnu:{PROGRAMS}/usr/lib/x86_64-linux-gnu/systemd")
}

/// What is not there, or not allowed.
pub fn lacks() -> Vec<Lack> {
    let lack =
        |id: &str, what: String, remedy: &str| Lack { id: id.into(), what, remedy: remedy.into(), bearable: false };
    let mut lacks = Vec::new();
    if !rustix::process::geteuid().is_root() {
        lacks.push(lack("nspawn.root", "containers and network namespaces need root".into(), "run the tests as root"));
    }
    if !nspawn().is_file() {
        let what = format!("{} is not there", nspawn().display());
        lacks.push(lack("nspawn.missing", what, "scripts/test-programs.sh"));
    }
    for (program, package) in [("unshare", "util-linux"), ("setsid", "util-linux"), ("ip", "iproute2"), ("tar", "tar")]
    {
        if command::find(program).is_none() {
            lacks.push(lack(
                "nspawn.missing",
                format!("{program} is not there"),
                &format!("apt-get install {package}"),
            ));
        }
    }
    lacks
}

/// The tree of `tar` as a folder, unpacked by the first who asks while others wait. An image that is built again gets
/// a folder of its own; a half-unpacked one is never seen.
pub async fn tree(tar: &Path) -> Result<PathBuf, ProviderError> {
    // One program holds the lock and unpacks: if we are killed, it comes to its end and nobody disturbs it.
    const UNPACK: &str = r#"mkdir -p "${1%/*}"
exec flock "$1.lock" sh -euc '[ ! -d "$1" ] || exit 0
rm -rf "$1.part"
mkdir "$1.part"
tar -C "$1.part" --numeric-owner --xattrs --xattrs-include="*" --exclude="./dev/*" -xpf "$2"
mv "$1.part" "$1"' sh "$1" "$2""#;
    let about = tar.metadata().and_then(|about| Ok((about.len(), about.modified()?)));
    let (bytes, made) = about.map_err(failed("reading", tar))?;
    let made = made.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let image = tar.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    let folder = Path::new(TREES).join(format!("{image}-{bytes}-{made}"));
    if !folder.is_dir() {
        let argv = Argv::script(UNPACK, [folder.display().to_string(), tar.display().to_string()]);
        let done = command::run(&argv, Duration::from_secs(300)).await.and_then(|output| output.success(&argv));
        done.map_err(|source| ProviderError::Command { doing: format!("unpacking {}", tar.display()), source })?;
    }
    Ok(folder)
}
