//! Container images that a node is given by its user: taken in from standard input, and the digests they have then.

use crate::command::Argv;

/// Take in an archive from standard input, then say under which digest each of `names` is there.
pub fn take<'n>(names: impl IntoIterator<Item = &'n str>) -> Argv {
    const SCRIPT: &str = r#"set -e
ctr -n k8s.io images import - >/dev/null
for name; do ctr -n k8s.io images ls "name==$name" | awk 'NR > 1 { print $1, $3 }'; done"#;
    Argv::script(SCRIPT, names)
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
}
