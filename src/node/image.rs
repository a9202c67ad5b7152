//! Container images that a node is given by its user: taken in from standard input, and the digests they have then.

use crate::command::Argv;
use crate::lab::kubernetes::Runtime;

/// Take in an archive from standard input, then say under which digest each of `names` is there: with containerd that of
/// the manifest, with Docker that of the configuration, which is what it knows an image by that it did not pull.
pub fn take<'n>(runtime: Runtime, names: impl IntoIterator<Item = &'n str>) -> Argv {
    const CONTAINERD: &str = r#"set -e
ctr -n k8s.io images import - >/dev/null
for name; do ctr -n k8s.io images ls "name==$name" | awk 'NR > 1 { print $1, $3 }'; done"#;
    // The oldest know neither `load --quiet` nor `image inspect`.
    const DOCKER: &str = r#"set -e
docker load >/dev/null
for name; do ! id=$(docker inspect --type=image --format '{{.Id}}' "$name" 2>/dev/null) || echo "$name $id"; done"#;
    Argv::script(
        match runtime {
            Runtime::Containerd => CONTAINERD,
            Runtime::Docker => DOCKER,
        },
        names,
    )
}

/// Name and digest of each, as the answer to [`take`] has them.
pub fn taken(text: &str) -> Vec<(String, String)> {
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.map(|(name, digest)| (name.to_owned(), digest.trim().to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_a_name_and_a_digest() {
        let said = "docker.io/me/node:dev sha256:aa\nregistry.example/x:1 sha256:bb\n";
        let wanted = [("docker.io/me/node:dev", "sha256:aa"), ("registry.example/x:1", "sha256:bb")];
        assert_eq!(taken(said), wanted.map(|(name, digest)| (name.to_owned(), digest.to_owned())));
        assert!(taken("").is_empty());
    }

    #[test]
    fn each_runtime_is_spoken_to_by_its_own_client() {
        let script = |runtime| take(runtime, ["a:1"]).words().concat();
        let (containerd, docker) = (script(Runtime::Containerd), script(Runtime::Docker));
        assert!(containerd.contains("ctr -n k8s.io images import") && !containerd.contains("docker "));
        assert!(docker.contains("docker load") && !docker.contains("ctr "));
    }
}
