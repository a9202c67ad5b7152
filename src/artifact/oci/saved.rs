//! An archive of images as `docker save` or an OCI layout has it, of the user's own: what the images in it are called.

use std::path::Path;

use oci_client::Reference;
use serde::Deserialize;

use crate::artifact::{FetchError, texts};

/// Why an archive cannot be handed to nodes.
#[derive(Debug, thiserror::Error)]
pub enum SavedError {
    /// It cannot be read.
    #[error("it could not be read")]
    Unread {
        /// Why.
        source: FetchError,
    },
    /// It is something else.
    #[error(
        "it is no archive of images: neither a manifest.json of `docker save` nor an index.json of an OCI layout is in it"
    )]
    NoImages,
    /// Its images have no names.
    #[error("an image in it has no name of its own{}", name.as_ref().map(|name| format!(": `{name}`")).unwrap_or_default())]
    Nameless {
        /// What it has instead.
        name: Option<String>,
    },
}

/// The whole names of the images in the archive at `path`, as nodes call them.
pub fn names(path: &Path) -> Result<Vec<String>, SavedError> {
    let wanted = |path: &str| matches!(path.trim_start_matches("./"), "manifest.json" | "index.json");
    let found = texts::of_stranger(path, wanted).map_err(|source| SavedError::Unread { source })?;
    let text = |name: &str| {
        found.iter().find(|(path, _)| path.trim_start_matches("./") == name).map(|(_, text)| text.as_str())
    };
    named(text("manifest.json"), text("index.json"))
}

fn named(docker: Option<&str>, layout: Option<&str>) -> Result<Vec<String>, SavedError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Saved {
        repo_tags: Option<Vec<String>>,
    }
    #[derive(Deserialize)]
    struct Index {
        manifests: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        #[serde(default)]
        annotations: std::collections::BTreeMap<String, String>,
    }
    let docker: Option<Vec<Saved>> = docker.and_then(|text| serde_json::from_str(text).ok());
    let layout: Option<Index> = layout.and_then(|text| serde_json::from_str(text).ok());
    let said: Vec<Option<String>> = match (docker, layout) {
        (Some(images), _) => images
            .into_iter()
            .flat_map(|image| match image.repo_tags.unwrap_or_default() {
                none if none.is_empty() => vec![None],
                tags => tags.into_iter().map(Some).collect(),
            })
            .collect(),
        (None, Some(index)) => {
            let keys = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];
            let name = |entry: Entry| keys.iter().find_map(|key| entry.annotations.get(*key).cloned());
            index.manifests.into_iter().map(name).collect()
        }
        (None, None) => return Err(SavedError::NoImages),
    };
    if said.is_empty() {
        return Err(SavedError::NoImages);
    }
    let whole = |name: Option<String>| match name {
        // A bare tag, as a layout may have, names nothing.
        Some(name) if name.contains([':', '/']) => {
            let reference: Result<Reference, _> = name.parse();
            reference.map(|reference| reference.whole()).map_err(|_| SavedError::Nameless { name: Some(name) })
        }
        name => Err(SavedError::Nameless { name }),
    };
    said.into_iter().map(whole).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_nodes_use() {
        let docker = r#"[{"Config": "ab.json", "RepoTags": ["calico/node:dev", "busybox:1"], "Layers": []}]"#;
        let all = named(Some(docker), None).expect("names");
        assert_eq!(all, ["docker.io/calico/node:dev", "docker.io/library/busybox:1"]);
        let layout = r#"{"manifests": [{"digest": "sha256:aa", "annotations": {"org.opencontainers.image.ref.name": "registry.example/x:1"}}]}"#;
        assert_eq!(named(None, Some(layout)).expect("names"), ["registry.example/x:1"]);
    }

    #[test]
    fn what_has_no_name_is_told() {
        let told = |docker, layout| named(docker, layout).expect_err("no names").to_string();
        assert!(told(Some(r#"[{"Config": "ab.json", "RepoTags": null}]"#), None).contains("no name of its own"));
        let tag = r#"{"manifests": [{"annotations": {"org.opencontainers.image.ref.name": "latest"}}]}"#;
        assert!(told(None, Some(tag)).contains("`latest`"));
        assert!(told(None, None).contains("no archive of images") && told(Some("[]"), None).contains("no archive"));
    }
}
