//! Debian's stanzas: what the signed index of an archive says about packages.

use crate::lab::pin::Digest;

/// One package of one version, as the signed index has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The binary package's name.
    pub package: String,
    /// Its version, epoch included.
    pub version: String,
    /// SHA-256 of the file.
    pub digest: Digest,
    /// Length of the file.
    pub bytes: u64,
}

/// Records out of what `apt-cache show` printed; stanzas without a digest are of no use and left out.
pub(super) fn records(text: &str) -> Vec<Record> {
    stanzas(text)
        .filter_map(|stanza| {
            Some(Record {
                package: stanza.field("Package")?.into(),
                version: stanza.field("Version")?.into(),
                digest: format!("sha256:{}", stanza.field("SHA256")?).parse().ok()?,
                bytes: stanza.field("Size")?.parse().ok()?,
            })
        })
        .collect()
}

/// One stanza.
pub(super) struct Stanza<'a>(&'a str);

impl<'a> Stanza<'a> {
    /// The first line of a field, without blanks around it.
    pub(super) fn field(&self, name: &str) -> Option<&'a str> {
        self.0.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// The stanzas of a text: parted by empty lines.
pub(super) fn stanzas(text: &str) -> impl Iterator<Item = Stanza<'_>> {
    text.split("\n\n").filter(|stanza| !stanza.trim().is_empty()).map(Stanza)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folded_lines_are_no_fields() {
        let sum = "ab".repeat(32);
        let text = format!(
            "Package: bird\nVersion: 1.6.8-2.1+b1\nDescription: a\n Version: no\nSize: 12\nSHA256: {sum}\n\nPackage: half\n"
        );
        let records = records(&text);
        assert_eq!(records.len(), 1);
        assert_eq!((records[0].version.as_str(), records[0].bytes), ("1.6.8-2.1+b1", 12));
    }
}
