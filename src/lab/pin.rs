//! Pins: which bytes a lab means, and where they come from.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A digest of a file as it is fetched.
///
/// Written `sha256:` or `sha512:` and lower-case hex of the right length; nothing else parses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Digest {
    /// SHA-256.
    Sha256([u8; 32]),
    /// SHA-512.
    Sha512([u8; 64]),
}

impl Digest {
    /// The algorithm's name as written.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Sha256(_) => "sha256",
            Self::Sha512(_) => "sha512",
        }
    }

    /// Lower-case hex.
    pub fn hex(&self) -> String {
        match self {
            Self::Sha256(bytes) => hex(bytes),
            Self::Sha512(bytes) => hex(bytes),
        }
    }
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn bytes_of<const N: usize>(hex: &str) -> Option<[u8; N]> {
    if hex.len() != 2 * N || !hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        return None;
    }
    let mut bytes = [0; N];
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(bytes)
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm(), self.hex())
    }
}

/// A text that is no digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no digest: `sha256:` and 64, or `sha512:` and 128 digits of 0-9a-f are")]
pub struct DigestError(String);

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let parsed = match text.split_once(':') {
            Some(("sha256", hex)) => bytes_of(hex).map(Self::Sha256),
            Some(("sha512", hex)) => bytes_of(hex).map(Self::Sha512),
            _ => None,
        };
        parsed.ok_or_else(|| DigestError(text.into()))
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

/// The processor a file is for, in Debian's and Go's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// x86-64.
    Amd64,
    /// AArch64.
    Arm64,
    /// Any processor.
    All,
}

impl Arch {
    /// The processor of the nodes, whatever the host's is.
    pub const NODE: Self = Self::Amd64;

    /// Debian's and Go's word for it, and the kernel's: what `{arch}` and `{machine}` stand for in addresses.
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Amd64 => ("amd64", "x86_64"),
            Self::Arm64 => ("arm64", "aarch64"),
            Self::All => ("all", "all"),
        }
    }
}

/// How far a digest can be believed; a lock shows the difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trust {
    /// The upstream's own record, signed or not.
    #[default]
    Published,
    /// Public records of others, in which it was found.
    Recorded,
    /// Nobody's record: the sum of what came when it was first fetched.
    FirstUse,
}

impl Trust {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Where a pinned file comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Source {
    /// An upstream's release file: several addresses in the order they are tried.
    Url {
        /// The addresses.
        urls: Vec<String>,
        /// Where the upstream publishes its sum: read by `lock`, never by `up`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sums: Option<String>,
    },
    /// A Debian package, fetched by the host's own apt.
    Apt {
        /// The binary package's name.
        package: String,
        /// The suite (`bookworm`).
        suite: String,
    },
    /// A container image. What is fetched is the manifest, or the list of manifests, of the pin's digest.
    Oci {
        /// Registry, repository, and the tag (or digest) that people know it by.
        reference: String,
    },
}

impl Source {
    /// The same with `{version}`, `{arch}` and `{machine}` filled in: a lab says them once for all processors.
    #[must_use]
    pub fn filled(&self, version: &str, arch: Arch) -> Self {
        let fill = |text: &String| filled(text, version, arch);
        match self {
            Self::Url { urls, sums } => {
                Self::Url { urls: urls.iter().map(fill).collect(), sums: sums.as_ref().map(fill) }
            }
            Self::Oci { reference } => Self::Oci { reference: fill(reference) },
            Self::Apt { .. } => self.clone(),
        }
    }

    /// Whether there is a file of its own for each processor.
    pub fn differs_by_arch(&self) -> bool {
        match self {
            Self::Url { .. } | Self::Oci { .. } => self.filled("", Arch::Amd64) != self.filled("", Arch::Arm64),
            Self::Apt { .. } => true,
        }
    }
}

/// `text` with `{version}`, `{arch}` and `{machine}` filled in.
pub(in crate::lab) fn filled(text: &str, version: &str, arch: Arch) -> String {
    let (word, machine) = arch.words();
    text.replace("{version}", version).replace("{arch}", word).replace("{machine}", machine)
}

/// One file by version, source, architecture and digest.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// What the lab calls it.
    pub name: String,
    /// The upstream's or the archive's version.
    pub version: String,
    /// The processor it is for.
    pub arch: Arch,
    /// Where it comes from.
    pub source: Source,
    /// Of the file as fetched.
    pub digest: Digest,
    /// Its length in bytes, where known: also the most that is ever read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// How far the digest can be believed.
    #[serde(default, skip_serializing_if = "Trust::is_default")]
    pub trust: Trust,
    /// Where the digest was published, and when it was read there.
    pub found: String,
}

impl Pin {
    /// How people call the file: its name and version.
    pub fn label(&self) -> String {
        format!("{} {}", self.name, self.version)
    }
}

/// Something a lab wants and its lock has no digest for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// What the lab calls it.
    pub name: String,
    /// The version that is wanted, where the lab names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The processor it is wanted for.
    pub arch: Arch,
    /// Where it would come from.
    pub source: Source,
    /// Why there is no digest.
    pub why: String,
}

/// Version of lock files.
pub const LOCK_SCHEMA: u32 = 1;

/// A lab's `lock.yaml`. Incomplete is a state with a name: [`missing`](Self::missing).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// [`LOCK_SCHEMA`].
    pub schema: u32,
    /// What is pinned.
    pub pins: Vec<Pin>,
    /// What is wanted and has no digest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Wanted>,
}

impl Lock {
    /// The pin that bears `name` for `arch` (or for any processor).
    pub fn pin(&self, name: &str, arch: Arch) -> Option<&Pin> {
        self.pins.iter().find(|pin| pin.name == name && (pin.arch == arch || pin.arch == Arch::All))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_filled_for_each_processor() {
        let source = Source::Url {
            urls: vec!["https://x.example/{version}/a-{arch}-{machine}".into()],
            sums: Some("https://x.example/{version}/SHA256SUMS".into()),
        };
        assert_eq!(
            source.filled("1.2", Arch::Arm64),
            Source::Url {
                urls: vec!["https://x.example/1.2/a-arm64-aarch64".into()],
                sums: Some("https://x.example/1.2/SHA256SUMS".into()),
            }
        );
        let image = Source::Oci { reference: "registry.example/node:v{version}".into() };
        assert_eq!(image.filled("3", Arch::All), Source::Oci { reference: "registry.example/node:v3".into() });
    }

    #[test]
    fn only_whole_lower_case_digests_parse() {
        let good = format!("sha256:{}", "0a".repeat(32));
        assert_eq!(good.parse::<Digest>().expect("64 digits").to_string(), good);
        for bad in
            ["", "sha256:", &good[..70], &good.to_uppercase(), &good.replace("sha256", "md5"), &format!("{good}0")]
        {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }
}
