//! Mirrors: other addresses for an upstream's bytes, none of which need be trusted.

use std::fmt;

use reqwest::Url;
use reqwest::header::HeaderValue;

use crate::lab::pin::Digest;
use crate::lab::problem::Place;

/// One mirror: what it stands for, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    covers: Covers,
    base: Url,
    named: Place,
}

/// What a mirror has.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Covers {
    /// Any file, by its digest: `URL/<algorithm>/<hex>`.
    Digests,
    /// What lies at the upstream below this address, which has no scheme and no slash at its end.
    Below(String),
}

/// A text that is no mirror.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MirrorError {
    /// There is no `=`.
    #[error("`{0}` is no mirror: PREFIX=URL is, as in `*=http://teacher.example:8000`")]
    Form(String),
    /// The prefix cannot begin an address.
    #[error("`{0}` is no beginning of an address: write `code.example/NAME` without a scheme, or `*` for a store")]
    Prefix(String),
    /// The URL leads nowhere.
    #[error("`{0}` is no address of a mirror: http://HOST/… or https://HOST/… without `?` and `#` is")]
    Url(String),
}

impl Mirror {
    /// A mirror of whatever begins with `prefix` (`*`: of any file, by digest) at `url`, as somebody wrote at `named`.
    pub fn new(prefix: &str, url: &str, named: Place) -> Result<Self, MirrorError> {
        let below = prefix.trim_end_matches('/');
        let covers = match below {
            "*" => Covers::Digests,
            _ if below.is_empty()
                || below.contains("://")
                || below.contains(|c: char| c.is_whitespace() || c == '*') =>
            {
                return Err(MirrorError::Prefix(prefix.into()));
            }
            _ => Covers::Below(below.into()),
        };
        let base = Url::parse(url).ok().filter(|url| {
            matches!(url.scheme(), "http" | "https") && url.query().is_none() && url.fragment().is_none()
        });
        let base = base.ok_or_else(|| MirrorError::Url(without_user(url)))?;
        Ok(Self { covers, base, named })
    }

    /// `PREFIX=URL` as written on the command line.
    pub fn parse(text: &str, named: Place) -> Result<Self, MirrorError> {
        let (prefix, url) = text.split_once('=').ok_or_else(|| MirrorError::Form(without_user(text)))?;
        Self::new(prefix, url, named)
    }

    /// Where somebody wrote it.
    pub fn named(&self) -> &Place {
        &self.named
    }

    /// Its address for what lies at `upstream`, an address without scheme.
    fn rewritten(&self, upstream: &str) -> Option<String> {
        let Covers::Below(prefix) = &self.covers else { return None };
        let rest = upstream.strip_prefix(prefix.as_str())?;
        (rest.is_empty() || rest.starts_with('/'))
            .then(|| format!("{}{rest}", self.base.as_str().trim_end_matches('/')))
    }

    fn by_digest(&self, digest: &Digest) -> Option<String> {
        let base = self.base.as_str().trim_end_matches('/');
        (self.covers == Covers::Digests).then(|| format!("{base}/{}/{}", digest.algorithm(), digest.hex()))
    }
}

/// For people: any user and password left out.
impl fmt::Display for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = match &self.covers {
            Covers::Digests => "*",
            Covers::Below(prefix) => prefix,
        };
        write!(f, "{prefix}={}", without_user(self.base.as_str()))
    }
}

/// All mirrors in the order they are tried. The default is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mirrors(Vec<Mirror>);

impl Mirrors {
    /// These, in the order they are tried.
    pub fn new(mirrors: impl IntoIterator<Item = Mirror>) -> Self {
        Self(mirrors.into_iter().collect())
    }

    /// Each, in the order they are tried.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Mirror> {
        self.0.iter()
    }

    /// Where the file of this digest may be had, best first: stores by digest, then what mirrors the upstream's own
    /// addresses, then those.
    pub fn addresses(&self, digest: &Digest, upstream: &[Address]) -> Vec<Address> {
        let stores = self.0.iter().filter_map(|mirror| mirror.by_digest(digest));
        let rewritten = upstream.iter().filter_map(|address| address.url.split_once("://"));
        let rewritten: Vec<&str> = rewritten.map(|(_, bare)| bare).collect();
        let below = self.0.iter().flat_map(|mirror| rewritten.iter().filter_map(|bare| mirror.rewritten(bare)));
        stores.chain(below).map(Address::of_mirror).chain(upstream.iter().cloned()).collect()
    }

    /// Where mirrors have what lies at `address`, which has no scheme (`docker.io/calico/node`).
    pub fn rewritten(&self, address: &str) -> Vec<String> {
        self.0.iter().filter_map(|mirror| mirror.rewritten(address)).collect()
    }
}

/// One place to ask for a file.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    url: String,
    mirror: bool,
    authorization: Option<HeaderValue>,
    accept: Option<HeaderValue>,
}

impl Address {
    /// The upstream's own.
    pub fn upstream(url: impl Into<String>) -> Self {
        Self { url: url.into(), mirror: false, authorization: None, accept: None }
    }

    /// A mirror's. What it lacks or does wrong is expected of it.
    pub fn of_mirror(url: impl Into<String>) -> Self {
        Self { url: url.into(), mirror: true, authorization: None, accept: None }
    }

    /// The same with an `Authorization` header, which is not sent on to other hosts.
    #[must_use]
    pub fn with_authorization(mut self, mut header: HeaderValue) -> Self {
        header.set_sensitive(true);
        self.authorization = Some(header);
        self
    }

    /// The same with an `Accept` header: a registry keeps back what is not named in it.
    #[must_use]
    pub fn with_accept(mut self, types: &'static str) -> Self {
        self.accept = Some(HeaderValue::from_static(types));
        self
    }

    /// As it is asked for; may hold a password.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Whether it is a mirror's.
    pub fn is_mirror(&self) -> bool {
        self.mirror
    }

    pub(super) fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    pub(super) fn accept(&self) -> Option<&HeaderValue> {
        self.accept.as_ref()
    }

    /// Host and port, which share the places in a queue; the whole text of what is no URL.
    pub(super) fn host(&self) -> String {
        let url = Url::parse(&self.url).ok();
        let host = url.as_ref().and_then(|url| Some((url.host_str()?, url.port_or_known_default()?)));
        host.map_or_else(|| self.url.clone(), |(host, port)| format!("{host}:{port}"))
    }
}

/// For people: any user and password left out.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_user(&self.url))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text without what stands between `://` and `@` before the next slash.
fn without_user(url: &str) -> String {
    let begin = url.find("://").map_or(0, |at| at + 3);
    let end = url[begin..].find('/').map_or(url.len(), |at| begin + at);
    match url[begin..end].rfind('@') {
        Some(at) => format!("{}…{}", &url[..begin], &url[begin + at..]),
        None => url.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Mirror, MirrorError> {
        Mirror::parse(text, Place::Flag { flag: "--mirror".into() })
    }

    fn mirrors(texts: &[&str]) -> Mirrors {
        Mirrors::new(texts.iter().map(|text| parse(text).expect(text)))
    }

    #[test]
    fn stores_come_first_then_mirrors_as_given_then_the_upstream() {
        let digest = Digest::Sha512([1; 64]);
        let hex = "01".repeat(64);
        let mirrors = mirrors(&[
            "code.example/calico=http://one.example/c/",
            "*=http://store.example:8000",
            "code.example=https://two.example/all",
        ]);
        let upstream = [Address::upstream("https://code.example/calico/v1/x"), Address::upstream("http://z.example/x")];
        let shown: Vec<String> = mirrors.addresses(&digest, &upstream).iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                &format!("http://store.example:8000/sha512/{hex}"),
                "http://one.example/c/v1/x",
                "https://two.example/all/calico/v1/x",
                "https://code.example/calico/v1/x",
                "http://z.example/x",
            ]
        );
        assert_eq!(
            mirrors.rewritten("code.example/calico/node"),
            ["http://one.example/c/node", "https://two.example/all/calico/node"]
        );
    }

    #[test]
    fn a_prefix_ends_where_a_word_of_the_path_ends() {
        let mirrors = mirrors(&["code.example/calico=http://one.example"]);
        assert!(mirrors.rewritten("code.example/calico-evil/x").is_empty());
        assert!(mirrors.rewritten("other.example/calico/x").is_empty());
    }

    #[test]
    fn what_is_no_mirror_says_how_one_is_written() {
        for text in [
            "x",
            "=http://a.example",
            "https://a.example=http://b.example",
            "a b=http://c.example",
            "a=ftp://b.example",
            "a=b",
            "a=http://b.example/?q",
            "a=http://",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn nobody_sees_a_password() {
        let mirror = parse("*=http://user:secret@store.example/x@y").expect("a mirror");
        assert_eq!(mirror.to_string(), "*=http://…@store.example/x@y");
        let address = &Mirrors::new([mirror]).addresses(&Digest::Sha256([0; 32]), &[])[0];
        assert!(!format!("{address} {address:?}").contains("secret"));
        assert!(address.url().contains("secret"));
    }
}
