//! The texts that one lab is made of, as they lie in an exported tree: what travels when a lab does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{Library, LibraryError, carried_files, files_below};
use crate::lab::file::Lab;
use crate::lab::images::{Images, Origin};

impl Library {
    /// Every text that `lab` is made of but its lock: path in the layout that `--labs` takes, and content. That is the
    /// lab's folder, the templates of its installer, `images.yaml` and the recipe of its image.
    pub fn parts(&self, lab: &Lab, images: &Images) -> Result<BTreeMap<String, Vec<u8>>, LibraryError> {
        let mut parts = BTreeMap::new();
        let text = self.lab(&lab.name)?;
        parts.insert(format!("labs/{}/lab.yaml", lab.name), text.text.into_bytes());
        if let Some(readme) = self.readme(&lab.name)? {
            parts.insert(format!("labs/{}/README.md", lab.name), readme.text.into_bytes());
        }
        for folder in ["cloud-config/parts".into(), format!("cloud-config/{}", lab.installer), "manifests".into()] {
            for path in self.templates_below(&folder)? {
                let text = self.template(&path)?.text;
                parts.insert(path, text.into_bytes());
            }
        }
        parts.insert("labs/images.yaml".into(), self.template("labs/images.yaml")?.text.into_bytes());
        if let Some(Origin::Build { recipe, .. }) = images.get(&lab.image).map(|image| &image.origin) {
            for file in self.image_recipe_files(recipe)? {
                parts.insert(format!("{}/{}", recipe.trim_end_matches('/'), file.path), file.bytes);
            }
        }
        Ok(parts)
    }

    /// The paths of all templates in a folder: the binary's, and those that override or join them.
    fn templates_below(&self, folder: &str) -> Result<BTreeSet<String>, LibraryError> {
        let inside = |path: &String| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        let mut paths: BTreeSet<String> = carried_files().into_iter().map(|(path, _)| path).filter(inside).collect();
        if let Some(own) = self.over.as_ref().map(|over| over.join(folder)).filter(|own| own.is_dir()) {
            let mut files = Vec::new();
            files_below(&own, &own, &mut files)?;
            paths.extend(files.into_iter().map(|file| format!("{folder}/{}", file.path)));
        }
        Ok(paths)
    }

    /// Whether the binary carries exactly these bytes at `path`.
    pub fn carries(path: &str, bytes: &[u8]) -> bool {
        carried_files().into_iter().any(|(known, content)| known == path && content == bytes)
    }

    /// Whether the binary carries all of these, and no further template, README or recipe file in their folders.
    pub fn carries_all(parts: &BTreeMap<String, Vec<u8>>) -> bool {
        let folders: BTreeSet<&Path> = parts.keys().filter_map(|path| Path::new(path).parent()).collect();
        // images.yaml lies beside the labs, which are none of its business.
        let beside = |path: &str| path != "labs/images.yaml" && !path.ends_with("/lock.yaml");
        let more = carried_files().into_iter().any(|(path, _)| {
            beside(&path)
                && !parts.contains_key(&path)
                && Path::new(&path).parent().is_some_and(|folder| folders.contains(folder))
        });
        !more && parts.iter().all(|(path, bytes)| Self::carries(path, bytes))
    }
}
