//! Texts out of a verified file: what is read on this host, and not sent to the nodes as it is.

use std::path::Path;

use super::FetchError;
use super::cache::Cache;
use super::error::Refusal;
use super::files::{self, blocking, failed};
use super::member::{self, Member, Whole};
use super::unpack::{LIMITS, Limits};
use super::verified::Verified;
use crate::event::Events;

/// The longest text that is read: Calico's own, with the definitions of all its resources, has 3 MB.
const LONGEST: u64 = 16 << 20;

/// The `members` of a verified file as texts, in their order; `None` is the whole file, decompressed if it is a single
/// compressed one. An archive is read once for all of them.
pub async fn texts(
    cache: &Cache,
    file: &Verified,
    members: &[Option<&str>],
    events: &Events,
) -> Result<Vec<String>, FetchError> {
    let hex = file.pin().digest.hex();
    let scratch = cache.root().join("derived").join(format!("texts-{}", &hex[..16]));
    let _lock = files::lock(&cache.lock_file(&format!("texts-{hex}")), &file.pin().name, events).await?;
    let (file, members) = (file.clone(), members.iter().map(|member| member.map(str::to_owned)).collect::<Vec<_>>());
    blocking(move || {
        let read = read(&file, &members, &scratch);
        // The first failure is the one to tell; what stays now is cleared by the next run.
        let _ = std::fs::remove_dir_all(&scratch);
        read
    })
    .await
}

/// Of a stranger's archive: what is read of one file at most (of a longer one its end), of all of them, and unpacked.
const STRANGER: Limits = Limits { scanned: 4 << 30, member: 64 << 20, free: 256 << 20, ratio: 200 };

/// The texts in an archive that nobody verified and that `pick` names, with their paths. Nothing is written anywhere.
pub fn of_stranger(path: &Path, pick: impl Fn(&str) -> bool) -> Result<Vec<(String, String)>, FetchError> {
    within(path, STRANGER, pick)
}

fn within(path: &Path, limits: Limits, pick: impl Fn(&str) -> bool) -> Result<Vec<(String, String)>, FetchError> {
    let name = path.display().to_string();
    let bytes = std::fs::metadata(path).map_err(failed(&format!("reading {name}"), path, 0))?.len();
    let found = member::contents(Whole { name: &name, path, bytes }, limits, pick)?;
    Ok(found.into_iter().map(|(path, bytes)| (path, String::from_utf8_lossy(&bytes).into_owned())).collect())
}

fn read(file: &Verified, members: &[Option<String>], scratch: &Path) -> Result<Vec<String>, FetchError> {
    let _ = std::fs::remove_dir_all(scratch);
    std::fs::create_dir_all(scratch).map_err(failed(&format!("making {}", scratch.display()), scratch, 0))?;
    let wanted: Vec<Option<&str>> = members.iter().map(Option::as_deref).collect();
    let limits = Limits { member: LONGEST, ..LIMITS };
    let whole = Whole { name: &file.pin().name, path: file.path(), bytes: file.bytes() };
    let found = member::take(whole, &wanted, scratch, limits)?;
    found.iter().zip(members).map(|(found, name)| text(file, found, name.as_deref())).collect()
}

fn text(file: &Verified, found: &Member, name: Option<&str>) -> Result<String, FetchError> {
    let refused =
        |why| FetchError::Refused { archive: file.pin().name.clone(), entry: name.unwrap_or_default().into(), why };
    // Of a whole file that is not compressed nobody has asked how long it is.
    if found.bytes > LONGEST {
        return Err(refused(Refusal::TooLarge { most: LONGEST }));
    }
    let reading = failed(&format!("reading {}", found.at.display()), &found.at, 0);
    let bytes = std::fs::read(&found.at).map_err(reading)?;
    String::from_utf8(bytes).map_err(|_| refused(Refusal::NoText))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::super::files::sha256_of;
    use super::super::store::Reach;
    use super::super::support::Fixture;
    use super::*;

    /// An archive as releases are packed: compressed, with texts in folders.
    fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, bytes) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, path, *bytes).expect("appended");
        }
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&tar.into_inner().expect("a tar")).expect("compressed");
        gzip.finish().expect("compressed")
    }

    async fn of(bytes: &[u8], members: &[Option<&str>]) -> Result<Vec<String>, FetchError> {
        let at = Fixture::new().await;
        let pin = at.pin_of(&[], "release", sha256_of(bytes), bytes.len());
        let path = at.cache().file(&pin.digest);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(&path, bytes).expect("written");
        let file = at.store(Reach::Offline).ensure(&pin, &at.events).await.expect("it is there");
        texts(&at.cache(), &file, members, &at.events).await
    }

    #[test]
    fn a_strangers_archive_is_read_within_bounds() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("diags.tar.gz");
        let limits = Limits { scanned: 1 << 20, member: 4, free: 64 << 10, ratio: 20 };
        let zeros = vec![0; 300 << 10];
        std::fs::write(&path, archive(&[("d/hostname", b"one\n"), ("d/bin", b"\xff")])).expect("written");
        let texts = of_stranger(&path, |name| name == "d/hostname").expect("read");
        assert_eq!(texts, [("d/hostname".to_owned(), "one\n".to_owned())]);
        std::fs::write(&path, archive(&[("d/hostname", b"one\n"), ("d/zeros", &zeros)])).expect("written");
        let refused = within(&path, limits, |name| name == "d/hostname").expect_err("a bomb");
        assert!(matches!(refused, FetchError::Refused { why: Refusal::Bomb { .. }, .. }), "{refused}");
        std::fs::write(&path, archive(&[("d/log", b"the end")])).expect("written");
        assert_eq!(within(&path, limits, |_| true).expect("read")[0].1, " end");
    }

    #[tokio::test]
    async fn members_and_whole_files_are_read_as_texts() {
        let release = archive(&[("r/a.yaml", b"kind: A\n"), ("r/b/b.yaml", b"kind: B\n"), ("r/bin", b"\xff\xfe")]);
        let both = of(&release, &[Some("r/b/b.yaml"), Some("r/a.yaml")]).await.expect("texts");
        assert_eq!(both, ["kind: B\n", "kind: A\n"]);
        assert_eq!(of(b"kind: C\n", &[None]).await.expect("a text"), ["kind: C\n"]);
        let error = of(&release, &[Some("r/bin")]).await.expect_err("no text").to_string();
        assert_eq!(error, "release, `r/bin`: it is no text in UTF-8");
        assert!(of(&release, &[Some("r/c.yaml")]).await.is_err(), "no such member");
    }
}
