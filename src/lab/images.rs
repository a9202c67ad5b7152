//! `images.yaml` -> [`Images`]: the OS images a lab may name, and how each is had.

use serde::Serialize;

use super::file::artifacts;
use super::installer::{INSTALLERS, Installer};
use super::kernel::{CGROUPS, Cgroups};
use super::lock_file::{ARCHS, TRUSTS, schema};
use super::pin::{Arch, Digest, Trust};
use super::problem::{Place, Problem, Problems, nearest};
use super::scalar;
use super::tree::{self, Fields};

/// Version of `images.yaml`.
pub const IMAGES_SCHEMA: u32 = 1;

/// The OS images, in the file's order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Images(Vec<OsImage>);

/// One OS image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OsImage {
    /// What labs call it.
    pub name: String,
    /// How its bytes are had.
    pub origin: Origin,
    /// The user that can log in and become root.
    pub user: String,
    /// The processor it is for.
    pub arch: Arch,
    /// The installers that work on it.
    pub runs: Vec<Installer>,
    /// Its control groups; none where containers may be made of it, which have their host's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroups: Option<Cgroups>,
    /// One line for people.
    pub note: String,
}

/// How the bytes of an image are had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Built on this host from packages.
    Build {
        /// The distribution's suite.
        suite: String,
        /// The recipe's folder, as [`super::builtin::Library::image_recipe_files`] takes it.
        recipe: String,
    },
    /// Fetched whole.
    Download {
        /// The addresses in the order they are tried.
        urls: Vec<String>,
        /// Of the file as fetched.
        digest: Digest,
        /// Its length in bytes, where known: also the most that is ever read.
        bytes: Option<u64>,
        /// How the disk is written in the file.
        format: DiskFormat,
        /// Where the upstream publishes its sum.
        sums: Option<String>,
        /// How far the digest can be believed.
        trust: Trust,
        /// Where the digest was published, and when it was read there.
        found: String,
    },
}

/// How a disk is written in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskFormat {
    /// Block by block.
    Raw,
    /// QEMU's own, second version.
    Qcow2,
    /// A tar with a disk and what Vagrant wants to know of it.
    VagrantBox,
}

const FORMATS: [(&str, DiskFormat); 3] =
    [("raw", DiskFormat::Raw), ("qcow2", DiskFormat::Qcow2), ("vagrant-box", DiskFormat::VagrantBox)];

/// Why an image cannot be a lab's; [`at`](Self::at) makes a problem of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::lab) struct Unfit {
    reason: String,
    nearest: Option<String>,
    remedy: Option<String>,
}

impl Unfit {
    pub(in crate::lab) fn at(self, place: &Place) -> Problem {
        Problem { place: place.clone(), reason: self.reason, nearest: self.nearest, remedy: self.remedy }
    }
}

impl Images {
    /// Read the text of `file`; all problems at once.
    pub fn read(text: &str, file: &str) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let mut top = Fields::of_file(tree::parse(text, file)?, &mut problems)?;
        schema(&mut top, IMAGES_SCHEMA)?;
        let mut images: Vec<OsImage> = Vec::new();
        for (i, item) in
            top.get("images", scalar::list).map(|list| list.value).unwrap_or_default().into_iter().enumerate()
        {
            let mut fields = Fields::of(item, &format!("images[{i}]"), top.problems());
            let one = image(&mut fields, &images);
            fields.end();
            images.extend(one);
        }
        top.end();
        Problems::none_or(problems)?;
        Ok(Self(images))
    }

    /// The image called `name`.
    pub fn get(&self, name: &str) -> Option<&OsImage> {
        self.0.iter().find(|image| image.name == name)
    }

    /// Every image.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &OsImage> {
        self.0.iter()
    }

    /// The image of a lab that is built by `installer`, if it has that image.
    pub(in crate::lab) fn fits(&self, name: &str, installer: Option<Installer>) -> Result<&OsImage, Unfit> {
        let Some(image) = self.get(name) else {
            let names: Vec<&str> = self.0.iter().map(|image| image.name.as_str()).collect();
            let near = nearest(name, &names).map(str::to_owned);
            let remedy = near.is_none().then(|| format!("there is {}", names.join(", ")));
            return Err(Unfit { reason: format!("unknown image `{name}`"), nearest: near, remedy });
        };
        match installer {
            Some(installer) if !image.runs.contains(&installer) => {
                let others: Vec<&str> = self
                    .0
                    .iter()
                    .filter(|other| other.runs.contains(&installer))
                    .map(|other| other.name.as_str())
                    .collect();
                Err(Unfit {
                    reason: format!("image `{name}` cannot run installer `{installer}`"),
                    nearest: None,
                    remedy: Some(format!("these can: {}", others.join(", "))),
                })
            }
            _ => Ok(image),
        }
    }
}

fn image(fields: &mut Fields<'_>, earlier: &[OsImage]) -> Option<OsImage> {
    let name = fields.need("name", "debian-12", artifacts::word);
    let origin = origin(fields);
    let user = fields.need("user", "debian", scalar::parsed::<super::name::NodeName>);
    let arch = fields.need("arch", "amd64", scalar::choice(&ARCHS));
    let runs = fields.each("runs", scalar::choice(&INSTALLERS));
    let cgroups = fields.get("cgroups", scalar::choice(&CGROUPS)).map(|found| found.value);
    let note = fields.need("note", "one line for people", scalar::text);
    if let Some(name) = &name
        && earlier.iter().any(|image| image.name == name.value)
    {
        fields.problem(Problem::new(&name.at, format!("two images are called `{}`", name.value)));
    }
    Some(OsImage {
        name: name?.value,
        origin: origin?,
        user: user?.value.to_string(),
        arch: arch?.value,
        runs: runs.map_or_else(Vec::new, |runs| runs.value.into_iter().map(|one| one.value).collect()),
        cgroups,
        note: note?.value,
    })
}

fn origin(fields: &mut Fields<'_>) -> Option<Origin> {
    let build = fields.optional("build");
    let download = fields.optional("download");
    let (kind, node) = match (build, download) {
        (Some(node), None) => ("build", node),
        (None, Some(node)) => ("download", node),
        (build, _) => {
            let at = build.map_or_else(|| fields.at().clone(), |node| node.at);
            fields.problem(Problem::new(&at, "an image is either a `build` or a `download`"));
            return None;
        }
    };
    let path = fields.path(kind);
    let mut inner = Fields::of(node, &path, fields.problems());
    let origin = if kind == "build" {
        let suite = inner.need("suite", "bookworm", artifacts::word);
        let recipe = inner.need("recipe", "labs/images/debian-12", scalar::text);
        suite.zip(recipe).map(|(suite, recipe)| Origin::Build { suite: suite.value, recipe: recipe.value })
    } else {
        let urls = inner.each("urls", artifacts::url);
        let digest = inner.need("digest", "sha512:…", scalar::parsed::<Digest>);
        let bytes = inner.get("bytes", scalar::number(1..=u64::MAX)).map(|found| found.value);
        let format = inner.need("format", "qcow2", scalar::choice(&FORMATS));
        let sums = inner.get("sums", artifacts::url).map(|found| found.value);
        let trust = inner.get("trust", scalar::choice(&TRUSTS)).map_or_else(Trust::default, |found| found.value);
        let found = inner.need("found", "where the digest was published, and when", scalar::text);
        (|| {
            let urls: Vec<String> = urls?.value.into_iter().map(|url| url.value).collect();
            let (digest, format, found) = (digest?.value, format?.value, found?.value);
            Some(Origin::Download { urls, digest, bytes, format, sums, trust, found })
        })()
    };
    inner.end();
    origin
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUILT: &str = "  - name: a\n    build: {suite: bookworm, recipe: labs/images/a}\n    user: u\n    arch: amd64\n    runs: [primer]\n    note: n\n";

    #[test]
    fn every_problem_of_the_images_has_its_place() {
        let cases = [
            ("twice", format!("{BUILT}{BUILT}")),
            ("both ways", BUILT.replace("    user", "    download: {}\n    user")),
            ("neither way", BUILT.replace("build", "built")),
            (
                "a download without all it needs",
                BUILT
                    .replace("build: {suite: bookworm, recipe: labs/images/a}", "download: {urls: [x], digest: md5:1}"),
            ),
            ("strange words", BUILT.replace("amd64", "x86").replace("primer", "prime").replace("user: u", "user: U")),
            ("strange control groups", BUILT.replace("    note", "    cgroups: v3\n    note")),
        ];
        let told = cases
            .iter()
            .map(|(title, text)| {
                let problems = Images::read(&format!("schema: 1\nimages:\n{text}"), "images.yaml").expect_err(title);
                format!("# {title}\n{problems}\n")
            })
            .collect::<Vec<_>>()
            .join("\n");
        insta::assert_snapshot!(told);
    }

    #[test]
    fn an_image_must_run_the_installer() {
        let text =
            format!("schema: 1\nimages:\n{BUILT}{}", BUILT.replace("name: a", "name: b").replace("[primer]", "[]"));
        let images = Images::read(&text, "images.yaml").expect("right");
        assert!(images.fits("a", Some(Installer::Primer)).is_ok());
        let at = Place::Flag { flag: "--set image".into() };
        let problem = images.fits("b", Some(Installer::Primer)).expect_err("it cannot").at(&at);
        assert_eq!(problem.to_string(), "--set image: image `b` cannot run installer `primer`; these can: a");
    }
}
