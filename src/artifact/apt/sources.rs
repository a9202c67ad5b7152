//! The Debian archive this host takes its own packages from: addresses and keys, nothing of third parties.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::artifact::FetchError;
use crate::command::{Argv, find, run};

const LIMIT: Duration = Duration::from_secs(60);

/// Where Debian's own package puts the archive's keys, newest form first.
const KEYRINGS: [&str; 2] =
    ["/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp"];

/// What part of the archive an address serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// The suite itself.
    Release,
    /// Its updates between point releases.
    Updates,
    /// Its security updates.
    Security,
}

impl Part {
    /// The part that a release name of a sources entry means: `bookworm`, `bookworm-updates`, `bookworm-security`.
    fn of(release: &str) -> Option<Self> {
        match release.split_once('-') {
            None => Some(Self::Release),
            Some((_, "updates")) => Some(Self::Updates),
            Some((_, "security")) => Some(Self::Security),
            // Backports and proposed updates are no part of a suite.
            Some(_) => None,
        }
    }

    /// The release name of this part of `suite`.
    pub fn release(self, suite: &str) -> String {
        match self {
            Self::Release => suite.into(),
            Self::Updates => format!("{suite}-updates"),
            Self::Security => format!("{suite}-security"),
        }
    }
}

/// One address of the archive and the keys that sign it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// What it serves.
    pub part: Part,
    /// The address as apt knows it.
    pub uri: String,
    /// The keys, as a file.
    pub keyring: PathBuf,
}

/// The addresses of Debian's archive in this host's apt configuration. Apt's own knowledge is used where it has
/// fetched lists; before that, the entries whose keys are Debian's.
pub async fn of_host() -> Result<Vec<Place>, FetchError> {
    if find("apt-get").is_none() || find("dpkg-deb").is_none() {
        return Err(FetchError::NoArchive { why: "there is no apt-get here".into() });
    }
    let entries = configured().await?;
    let mut places = listed(&asked(INDEXES).await?, &entries);
    if places.is_empty() {
        places = entries.iter().filter(|entry| entry.is_debian()).flat_map(Entry::places).collect();
    }
    places.sort();
    places.dedup_by(|a, b| (a.part, &a.uri) == (b.part, &b.uri));
    if !places.iter().any(|place| place.part == Part::Release) {
        return Err(FetchError::NoArchive { why: "no entry of its sources is signed by Debian".into() });
    }
    match places.iter().find(|place| !place.keyring.is_file()) {
        Some(place) => Err(FetchError::NoArchive { why: format!("{} is not there", place.keyring.display()) }),
        None => Ok(places),
    }
}

const INDEXES: &[&str] = &[
    "apt-get",
    "indextargets",
    "--format",
    "$(ORIGIN)\t$(CREATED_BY)\t$(COMPONENT)\t$(RELEASE)\t$(REPO_URI)",
    "Created-By: Packages",
];

async fn asked(words: &[&str]) -> Result<String, FetchError> {
    let argv = Argv::new(words[0]).args(words[1..].iter().copied());
    let failed = |source| FetchError::Command { doing: "asking this host's apt for its sources".into(), source };
    run(&argv, LIMIT).await.and_then(|output| output.success(&argv)).map_err(failed)
}

/// Places out of apt's list of index files: those whose signed release file names Debian as its origin.
fn listed(targets: &str, entries: &[Entry]) -> Vec<Place> {
    let debian = targets.lines().filter_map(|line| {
        let mut fields = line.split('\t');
        let (origin, by, component) = (fields.next()?, fields.next()?, fields.next()?);
        let (release, uri) = (fields.next()?, fields.next()?);
        ((origin, by, component) == ("Debian", "Packages", "main")).then_some((Part::of(release)?, uri))
    });
    let keyring = |uri: &str| {
        let of = |entry: &&Entry| entry.uris.iter().any(|own| own.trim_end_matches('/') == uri.trim_end_matches('/'));
        entries.iter().find(of).map_or_else(default_keyring, Entry::keyring)
    };
    debian.map(|(part, uri)| Place { part, uri: uri.into(), keyring: keyring(uri) }).collect()
}

/// One entry of the host's sources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Entry {
    uris: Vec<String>,
    suites: Vec<String>,
    components: Vec<String>,
    signed_by: Option<String>,
}

impl Entry {
    /// Whether it may be Debian's: main, and either signed by a key file of Debian's or by the host's trusted keys.
    fn is_debian(&self) -> bool {
        let debians = |keys: &String| {
            Path::new(keys).file_name().is_some_and(|name| name.to_string_lossy().starts_with("debian-archive"))
        };
        self.components.iter().any(|component| component == "main") && self.signed_by.as_ref().is_none_or(debians)
    }

    fn keyring(&self) -> PathBuf {
        self.signed_by.as_ref().filter(|keys| keys.starts_with('/')).map_or_else(default_keyring, PathBuf::from)
    }

    fn places(&self) -> impl Iterator<Item = Place> {
        self.suites.iter().filter_map(|suite| Part::of(suite)).flat_map(move |part| {
            self.uris.iter().map(move |uri| Place { part, uri: uri.clone(), keyring: self.keyring() })
        })
    }
}

fn default_keyring() -> PathBuf {
    KEYRINGS.iter().map(PathBuf::from).find(|path| path.is_file()).unwrap_or_else(|| KEYRINGS[0].into())
}

/// All binary entries of the host's sources, in both of apt's forms.
async fn configured() -> Result<Vec<Entry>, FetchError> {
    let places =
        asked(&["apt-config", "shell", "LIST", "Dir::Etc::sourcelist/f", "PARTS", "Dir::Etc::sourceparts/d"]).await?;
    let value = |name: &str| {
        let line = places.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
        shlex::split(line)?.pop()
    };
    let mut files: Vec<PathBuf> = value("LIST").map(PathBuf::from).into_iter().collect();
    let parts = value("PARTS").and_then(|folder| std::fs::read_dir(folder).ok());
    files.extend(parts.into_iter().flatten().flatten().map(|entry| entry.path()));
    files.sort();
    let mut entries = Vec::new();
    for file in files {
        // A file that cannot be read gives apt nothing either.
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        match file.extension().and_then(|ending| ending.to_str()) {
            Some("list") => entries.extend(text.lines().filter_map(one_line)),
            Some("sources") => entries.extend(stanzas(&text)),
            _ => {}
        }
    }
    Ok(entries)
}

/// `deb [signed-by=… …] uri suite component …`
fn one_line(line: &str) -> Option<Entry> {
    let rest = line.split('#').next()?.trim().strip_prefix("deb")?;
    let rest = rest.strip_prefix([' ', '\t'])?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace().map(str::to_owned);
    Some(Entry {
        uris: vec![words.next()?],
        suites: vec![words.next()?],
        components: words.collect(),
        signed_by: options.split_whitespace().find_map(|option| option.strip_prefix("signed-by=")).map(str::to_owned),
    })
}

/// The entries of a file of stanzas (deb822).
fn stanzas(text: &str) -> Vec<Entry> {
    super::index::stanzas(text)
        .filter_map(|stanza| {
            let words = |name| -> Vec<String> {
                stanza.field(name).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
            };
            let enabled = stanza.field("Enabled").is_none_or(|word| !matches!(word, "no" | "false" | "0"));
            let wanted = enabled && words("Types").iter().any(|kind| kind == "deb");
            wanted.then(|| Entry {
                uris: words("URIs"),
                suites: words("Suites"),
                components: words("Components"),
                signed_by: stanza.field("Signed-By").map(str::to_owned),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEB822: &str = "\
# the archive
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates bookworm-backports
# in between
Components: main contrib
Signed-By: /keys/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/third
Suites: bookworm
Components: main
Signed-By: /keys/third.gpg

Enabled: no
Types: deb
URIs: http://mirror.example/off
Suites: bookworm
Components: main
";

    #[test]
    fn only_debians_own_entries_remain() {
        let mut entries = stanzas(DEB822);
        entries.extend(one_line(
            "deb [arch=amd64 signed-by=/keys/debian-archive-x.gpg] http://s.example/d x-security main",
        ));
        entries.extend(one_line("deb http://third.example/ stable extra # no main, no Debian"));
        entries.extend(one_line("deb-src http://mirror.example/debian bookworm main"));
        let places: Vec<_> = entries.iter().filter(|entry| entry.is_debian()).flat_map(Entry::places).collect();
        let short: Vec<_> = places.iter().map(|place| (place.part, place.uri.as_str())).collect();
        assert_eq!(
            short,
            [
                (Part::Release, "http://mirror.example/debian"),
                (Part::Updates, "http://mirror.example/debian"),
                (Part::Security, "http://s.example/d"),
            ]
        );
        assert_eq!(places[2].keyring, Path::new("/keys/debian-archive-x.gpg"));
    }

    #[test]
    fn what_apt_has_fetched_is_taken_by_its_origin() {
        let targets = "Debian\tPackages\tmain\tbookworm\thttp://mirror.example/debian/\n\
            Debian\tDEP-11\tmain\tbookworm\thttp://mirror.example/debian/\n\
            Debian Backports\tPackages\tmain\tbookworm-backports\thttp://mirror.example/debian/\n\
            Third\tPackages\tmain\tbookworm\thttp://mirror.example/third/\n\
            $(ORIGIN)\tPackages\tmain\tbookworm\thttp://new.example/\n";
        let places = listed(targets, &stanzas(DEB822));
        assert_eq!(
            places,
            [Place {
                part: Part::Release,
                uri: "http://mirror.example/debian/".into(),
                keyring: "/keys/debian-archive-keyring.gpg".into()
            }]
        );
    }
}
