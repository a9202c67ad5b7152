//! One object out of a file of manifests, and its containers' images.

use oci_client::Reference;
use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_saphyr::LitStr;

use super::{EditError, Upstream, near};
use crate::lab::edit::Object;
use crate::lab::kubernetes::Instead;

/// One object and all that is in it.
pub(super) struct Document {
    pub(super) object: Object,
    pub(super) value: Value,
}

/// The objects of a file, without documents that hold nothing but comments.
pub(super) fn read(file: &Upstream<'_>) -> Result<Vec<Document>, EditError> {
    // As kubectl reads: modes like `0400` are octal there, and only these two words are switches.
    let options = serde_saphyr::options! {
        legacy_octal_numbers: true,
        strict_booleans: true,
        with_snippet: false,
    };
    let values: Vec<Value> = serde_saphyr::from_multiple_with_options(file.text, options)
        .map_err(|source| EditError::NotYaml { file: file.name.into(), source: Box::new(source) })?;
    let there = values.into_iter().zip(1..).filter(|(value, _)| !value.is_null());
    there.map(|(value, number)| document(value, number, file.name)).collect()
}

fn document(value: Value, number: usize, file: &str) -> Result<Document, EditError> {
    let text = |pointer: &str, key| match value.pointer(pointer).and_then(Value::as_str) {
        Some(text) => Ok(text.to_owned()),
        None => Err(EditError::NoObject { file: file.into(), number, key }),
    };
    let object = Object { kind: text("/kind", "kind")?, name: text("/metadata/name", "metadata.name")? };
    Ok(Document { object, value })
}

impl Document {
    /// As YAML: keys sorted, texts of one line quoted, since readers differ about what a bare word is.
    pub(super) fn yaml(&self) -> String {
        let options = serde_saphyr::ser_options! { quote_all: true, compact_list_indent: true };
        serde_saphyr::to_string_with_options(&Shown(&self.value), options).expect("JSON's values are YAML")
    }

    /// Every container's image becomes the one of `images` that it means, and is never pulled.
    pub(super) fn take_images_from(&mut self, images: &[String], own: &[Instead]) -> Result<(), EditError> {
        // A pod's own `spec` is one step up; whatever else has containers makes pods of a template.
        for pod in ["/spec/template/spec", "/spec/jobTemplate/spec/template/spec", "/spec"] {
            for list in ["initContainers", "containers"] {
                let containers = self.value.pointer_mut(&format!("{pod}/{list}")).and_then(Value::as_array_mut);
                for container in containers.into_iter().flatten() {
                    let said = container["image"].as_str().unwrap_or_default();
                    let replaced: Vec<String> = own.iter().map(|own| own.image.clone()).collect();
                    let own = meant(said, &replaced).and_then(|image| own.iter().find(|own| own.image == image));
                    let Some(image) = own.map(|own| own.by.as_str()).or_else(|| meant(said, images)) else {
                        return Err(EditError::Image {
                            object: self.object.clone(),
                            container: container["name"].as_str().unwrap_or_default().into(),
                            image: said.into(),
                            near: near(said, images),
                        });
                    };
                    container["image"] = image.into();
                    container["imagePullPolicy"] = "Never".into();
                }
            }
        }
        Ok(())
    }
}

/// The image of the same whole name; else of the same name and tag in another registry, as release archives are tagged
/// otherwise than the manifests beside them.
fn meant<'i>(said: &str, images: &'i [String]) -> Option<&'i str> {
    let wanted: Reference = said.parse().ok()?;
    let parsed: Vec<(&str, Reference)> =
        images.iter().filter_map(|image| Some((image.as_str(), image.parse().ok()?))).collect();
    let same = parsed.iter().find(|(_, image)| image.whole() == wanted.whole());
    let alike = || {
        parsed.iter().find(|(_, image)| {
            image.repository() == wanted.repository() && image.tag().is_some() && image.tag() == wanted.tag()
        })
    };
    same.or_else(alike).map(|(name, _)| *name)
}

/// A value whose texts of several lines, as the plugin's configuration, stand as such.
struct Shown<'v>(&'v Value);

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            // What a block would lose, or take for its own indentation, is quoted like the others.
            Value::String(text)
                if text.contains('\n') && !text.starts_with([' ', '\n']) && text.chars().all(fits_block) =>
            {
                LitStr(text).serialize(serializer)
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(Shown)),
            Value::Object(entries) => serializer.collect_map(entries.iter().map(|(key, value)| (key, Shown(value)))),
            other => other.serialize(serializer),
        }
    }
}

fn fits_block(c: char) -> bool {
    matches!(c, '\n' | ' '..='~')
}
