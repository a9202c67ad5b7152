//! An upstream's manifests with a lab's edits in them: edited as YAML by object and path, never as text.

mod document;
mod place;
#[cfg(test)]
mod tests;
mod wanted;

use document::Document;
pub use wanted::{Pristine, as_applied, upstream};

use crate::lab::edit::{Edit, Object};
use crate::lab::kubernetes::Instead;

/// A file of manifests as the upstream wrote it.
#[derive(Clone, Copy, Debug)]
pub struct Upstream<'a> {
    /// What people know it by, as `calico.yaml`.
    pub name: &'a str,
    /// Its text.
    pub text: &'a str,
}

/// A file of manifests with the edits in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edited {
    /// As [`Upstream::name`].
    pub name: String,
    /// Its objects, in the upstream's order.
    pub objects: Vec<EditedObject>,
}

/// One object, before and after, each as YAML in the same form: keys sorted (in JSON that is
/// edited, too), texts quoted, comments left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EditedObject {
    /// Which one.
    pub object: Object,
    /// As the upstream wrote it.
    pub before: String,
    /// As it is applied.
    pub after: String,
}

impl Edited {
    /// What is applied.
    pub fn text(&self) -> String {
        self.objects.iter().flat_map(|object| ["---\n", &object.after]).collect()
    }
}

/// Why a manifest could not be edited.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// No YAML.
    #[error("`{file}` is no YAML")]
    NotYaml {
        /// The file.
        file: String,
        /// Where and why.
        source: Box<serde_saphyr::Error>,
    },
    /// A document that is nothing a cluster could take.
    #[error("document {number} of `{file}` has no `{key}`")]
    NoObject {
        /// The file.
        file: String,
        /// Which one, from 1.
        number: usize,
        /// What is not there.
        key: &'static str,
    },
    /// Two documents are one object.
    #[error("{object} stands twice: in `{first}` and in `{second}`")]
    Twice {
        /// The object.
        object: Object,
        /// A file.
        first: String,
        /// The same file, or another.
        second: String,
    },
    /// An edit of an object that is in no file.
    #[error("there is no {object} in {}; {near}", files.join(", "))]
    Missing {
        /// The object.
        object: Object,
        /// The files that were looked through.
        files: Vec<String>,
        /// The object that may have been meant; else all of its kind; else all.
        near: String,
    },
    /// An edit of a place that is not there.
    #[error("{object} has no `{at}`: no `{step}` there; {near}")]
    NoPlace {
        /// The object.
        object: Object,
        /// The whole path.
        at: String,
        /// The step that leads nowhere, with those before it.
        step: String,
        /// What may have been meant, else all that is there.
        near: String,
    },
    /// A path that goes into what has no inside of that kind.
    #[error("{object} has no `{at}`: `{step}` is {what}")]
    OtherKind {
        /// The object.
        object: Object,
        /// The whole path.
        at: String,
        /// The place that is something else.
        step: String,
        /// What it is, and what the path wants.
        what: String,
    },
    /// A text that should be JSON.
    #[error("`{step}` of {object} is no JSON")]
    NotJson {
        /// The object.
        object: Object,
        /// The text's place.
        step: String,
        /// Why.
        source: serde_json::Error,
    },
    /// Other objects than the lab is accepted by.
    #[error(
        "{} and the lab's `accept.objects` are not the same {}: {}",
        files.join(", "),
        wanted,
        told(missing, surplus)
    )]
    Unaccepted {
        /// The files that were looked through.
        files: Vec<String>,
        /// How many objects the lab names.
        wanted: usize,
        /// Those that are in no file.
        missing: Vec<Object>,
        /// Those that the lab does not name.
        surplus: Vec<Object>,
    },
    /// An image that no node has.
    #[error(
        "{object} wants the image `{image}` for its container `{container}`, which the lab brings to no node; {near}"
    )]
    Image {
        /// The object.
        object: Object,
        /// Whose image.
        container: String,
        /// The image.
        image: String,
        /// What may be meant, else all images that the nodes have.
        near: String,
    },
}

fn told(missing: &[Object], surplus: &[Object]) -> String {
    let named = |objects: &[Object]| objects.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let lists = [("missing is", missing), ("too much is", surplus)];
    let lists = lists.iter().filter(|(_, objects)| !objects.is_empty());
    lists.map(|(what, objects)| format!("{what} {}", named(objects))).collect::<Vec<_>>().join("; ")
}

/// What may have been meant by `word` where `there` is what is there.
fn near(word: &str, there: &[String]) -> String {
    match (crate::lab::problem::nearest(word, there), there) {
        (Some(nearest), _) => format!("`{nearest}` is there"),
        (None, []) => "nothing is there".into(),
        (None, there) => format!("there is {}", there.join(", ")),
    }
}

/// The files with the edits in them, all at once: an edit finds its object in whichever file it is.
///
/// Every container gets its image by the name under which the nodes have it (`images`: whole references), and is never
/// to pull one: an image that is not among them is an error. Those of `own` are in place of others.
pub fn edited(
    files: &[Upstream<'_>],
    edits: &[Edit],
    images: &[String],
    own: &[Instead],
) -> Result<Vec<Edited>, EditError> {
    let mut read: Vec<(&str, Vec<Document>)> = Vec::new();
    for file in files {
        read.push((file.name, document::read(file)?));
    }
    unique(&read)?;
    for edit in edits {
        if let Some(document) = found(&mut read, &edit.object) {
            place::align(document, edit);
        }
    }
    let before: Vec<Vec<String>> =
        read.iter().map(|(_, documents)| documents.iter().map(Document::yaml).collect()).collect();
    for edit in edits {
        match found(&mut read, &edit.object) {
            Some(document) => place::change(document, edit)?,
            None => return Err(missing(&edit.object, &read)),
        }
    }
    for document in read.iter_mut().flat_map(|(_, documents)| documents) {
        document.take_images_from(images, own)?;
    }
    let whole = |((name, documents), before): ((&str, Vec<Document>), Vec<String>)| Edited {
        name: name.into(),
        objects: documents
            .into_iter()
            .zip(before)
            .map(|(document, before)| EditedObject { after: document.yaml(), object: document.object, before })
            .collect(),
    };
    Ok(read.into_iter().zip(before).map(whole).collect())
}

fn found<'d>(read: &'d mut [(&str, Vec<Document>)], object: &Object) -> Option<&'d mut Document> {
    read.iter_mut().flat_map(|(_, documents)| documents).find(|document| document.object == *object)
}

fn unique(read: &[(&str, Vec<Document>)]) -> Result<(), EditError> {
    let mut seen: Vec<(&str, &Object)> = Vec::new();
    for (file, document) in read.iter().flat_map(|(file, documents)| documents.iter().map(move |one| (*file, one))) {
        if let Some((first, object)) = seen.iter().find(|(_, object)| **object == document.object) {
            return Err(EditError::Twice { object: (*object).clone(), first: (*first).into(), second: file.into() });
        }
        seen.push((file, &document.object));
    }
    Ok(())
}

fn missing(object: &Object, read: &[(&str, Vec<Document>)]) -> EditError {
    let all: Vec<&Object> = read.iter().flat_map(|(_, documents)| documents).map(|document| &document.object).collect();
    let alike: Vec<String> = all.iter().filter(|other| other.kind == object.kind).map(ToString::to_string).collect();
    let there = if alike.is_empty() { all.iter().map(ToString::to_string).collect() } else { alike };
    EditError::Missing {
        near: near(&object.to_string(), &there),
        object: object.clone(),
        files: read.iter().map(|(name, _)| format!("`{name}`")).collect(),
    }
}
