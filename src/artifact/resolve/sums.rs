//! Files of sums as upstreams write them, to the digests they give for one file.

use crate::lab::pin::Digest;

/// What `text` says of the file at `path`: a digest of each algorithm it has, SHA-256 first; none if it says nothing,
/// and two of one algorithm if it contradicts itself.
///
/// Read are: a bare sum; lines of `sha256sum`, with or without `*`; the same inside a PGP message; sections under
/// `# SHA512 HASH`; and BSD's `SHA256 (name) = sum`.
pub fn digests_of(text: &str, path: &str) -> Vec<Digest> {
    if let Some(digest) = bare(text) {
        return vec![digest];
    }
    let mut found: Vec<Digest> = Vec::new();
    let mut section: Option<String> = None;
    for line in text.lines().map(str::trim).take_while(|line| *line != "-----BEGIN PGP SIGNATURE-----") {
        if let Some(heading) = line.strip_prefix('#') {
            section = algorithm_of(heading).or(section);
            continue;
        }
        let Some((algorithm, name, hex)) = parts(line) else { continue };
        let Some(digest) = digest(hex) else { continue };
        // Sums of other algorithms may have as many digits.
        let said = algorithm.map(str::to_lowercase).or_else(|| section.clone());
        let fits = said.is_none_or(|said| said == digest.algorithm());
        if fits && names(name, path) && !found.contains(&digest) {
            found.push(digest);
        }
    }
    found.sort();
    found
}

/// A text that is nothing but a sum.
fn bare(text: &str) -> Option<Digest> {
    let mut words = text.split_whitespace();
    words.next().filter(|_| words.next().is_none()).and_then(digest)
}

/// `SHA512 HASH` of a heading as the word digests begin with.
fn algorithm_of(heading: &str) -> Option<String> {
    let mut words = heading.split_whitespace();
    let word = words.next()?;
    (words.next() == Some("HASH")).then(|| word.to_lowercase())
}

/// Algorithm, name and sum of a line.
fn parts(line: &str) -> Option<(Option<&str>, &str, &str)> {
    if let Some((before, hex)) = line.split_once(") = ") {
        let (algorithm, name) = before.split_once(" (")?;
        return Some((Some(algorithm), name, hex));
    }
    // A signed text puts `- ` before lines that begin with a dash.
    let (hex, name) = line.strip_prefix("- ").unwrap_or(line).split_once(char::is_whitespace)?;
    let name = name.trim_start();
    Some((None, name.strip_prefix('*').unwrap_or(name), hex))
}

fn digest(hex: &str) -> Option<Digest> {
    let algorithm = match hex.len() {
        64 => "sha256",
        128 => "sha512",
        _ => return None,
    };
    format!("{algorithm}:{}", hex.to_lowercase()).parse().ok()
}

/// Whether the name in a list means the file at `path`: its last parts.
fn names(name: &str, path: &str) -> bool {
    let name = name.strip_prefix("./").unwrap_or(name);
    !name.is_empty() && path.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sums that say which they are.
    fn hex(byte: &str, length: usize) -> String {
        byte.repeat(length / byte.len())
    }

    fn told(text: &str, path: &str) -> Vec<String> {
        digests_of(text, path).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_way_that_upstreams_write_sums_is_read() {
        let (a, b) = (hex("0a", 64), hex("0b", 64));
        let cases = [
            ("bare, without a line break", a.clone()),
            ("bare, in capitals", format!("{}\n", a.to_uppercase())),
            ("one line", format!("{a}  tool-linux-amd64.tar.gz\n")),
            ("lines, of which one is for binary mode", format!("{b}  other.tar.gz\n{a} *tool-linux-amd64.tar.gz\n")),
            (
                "a folder before the name",
                format!("{b}  ./arm64/tool-linux-amd64.tar.gz\n{a}  ./v1/tool-linux-amd64.tar.gz\n"),
            ),
            ("BSD", format!("SHA256 (other) = {b}\nSHA256 (tool-linux-amd64.tar.gz) = {a}\n")),
            (
                "signed",
                format!(
                    "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{b}  tool.arm64\n{a}  tool-linux-amd64.tar.gz\n-----BEGIN PGP SIGNATURE-----\n\n{b}  tool-linux-amd64.tar.gz\n-----END PGP SIGNATURE-----\n"
                ),
            ),
        ];
        for (title, text) in cases {
            assert_eq!(told(&text, "/v1/tool-linux-amd64.tar.gz"), [format!("sha256:{a}")], "{title}");
        }
    }

    #[test]
    fn sections_say_which_algorithm_their_sums_are_of() {
        let (md5, sha1) = (hex("01", 32), hex("02", 40));
        let (sha512, whirlpool) = (hex("03", 128), hex("04", 128));
        let text = format!(
            "# MD5 HASH\n{md5}  disk.img\n# SHA1 HASH\n{sha1}  disk.img\n# SHA512 HASH\n{sha512}  disk.img\n{sha512}  disk.img.bz2\n# WHIRLPOOL HASH\n{whirlpool}  disk.img\n"
        );
        assert_eq!(told(&text, "/4593/disk.img"), [format!("sha512:{sha512}")]);
        let both = format!("SHA512 (a) = {sha512}\nSHA256 (a) = {}\n", hex("0a", 64));
        assert_eq!(told(&both, "/a"), [format!("sha256:{}", hex("0a", 64)), format!("sha512:{sha512}")]);
    }

    #[test]
    fn what_says_nothing_of_the_file_gives_nothing() {
        let a = hex("0a", 64);
        for text in [
            String::new(),
            "<!doctype html><title>Not found</title>".into(),
            format!("{a}  tool-linux-arm64"),
            format!("{a}  my-tool"),
            format!("{}  tool", &a[1..]),
            a[..40].to_owned(),
            format!("SHA1 (tool) = {a}"),
        ] {
            assert_eq!(told(&text, "/v1/tool"), [""; 0], "{text}");
        }
        let twice = format!("{a}  tool\n{}  tool\n", hex("0b", 64));
        assert_eq!(told(&twice, "/v1/tool").len(), 2, "it contradicts itself");
    }
}
