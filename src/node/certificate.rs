//! A node's certificates: whose they are, until when, and whether its own authority knows them.

use openssl::error::ErrorStack;
use openssl::stack::Stack;
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::verify::{X509VerifyFlags, X509VerifyParam};
use openssl::x509::{X509, X509NameEntryRef, X509NameRef, X509Ref, X509StoreContext, X509StoreContextRef};

use crate::command::Argv;
use crate::node::etcd::PKI;

/// The authority's own, among them.
const AUTHORITY: &str = "ca.crt";

/// One certificate as openssl tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// File name in [`PKI`] (`etcd.crt`).
    pub file: String,
    /// Whom it names.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// From when it is good, as printed.
    pub from: String,
    /// Until when it is good, as printed.
    pub until: String,
    /// Whether it is signed and the node's clock lies within that time; none if that was not found out.
    pub current: Option<bool>,
    /// Whether the authority in the same folder signed it; none if that was not found out.
    pub trusted: Option<bool>,
}

/// Every certificate of a node, with its clock; no key is read. They are judged here: on an emulated node each start of
/// openssl costs a quarter of a second, and three would be needed for each.
pub fn ask() -> Argv {
    // The shell's own words alone, but for the clock.
    const SCRIPT: &str = r#"cd "$1" || exit
echo "now=$(date +%s)"
for file in *.crt; do
  echo "file=$file"
  while read -r line; do echo "$line"; done <"$file"
done"#;
    Argv::script(SCRIPT, [PKI])
}

impl Certificate {
    /// Read the answer to [`ask`].
    pub fn parse(text: &str) -> Vec<Self> {
        let mut files = text.split("file=");
        let now = files.next().and_then(|line| line.trim().strip_prefix("now=")?.parse().ok());
        let files: Vec<(&str, Option<X509>)> = files
            .filter_map(|part| part.split_once('\n'))
            .map(|(file, pem)| (file.trim(), X509::from_pem(pem.as_bytes()).ok()))
            .collect();
        let authority = files.iter().find(|(file, _)| *file == AUTHORITY).and_then(|(_, read)| read.as_ref());
        files.iter().map(|(file, read)| Self::judged(file, read.as_ref(), authority, now)).collect()
    }

    fn judged(file: &str, read: Option<&X509>, authority: Option<&X509>, now: Option<i64>) -> Self {
        let told = |tell: fn(&X509Ref) -> String| read.map(|own| tell(own)).unwrap_or_default();
        let verified = |at: Option<i64>| signed(read?, authority?, at).ok();
        Self {
            file: file.into(),
            subject: told(|own| words(own.subject_name())),
            issuer: told(|own| words(own.issuer_name())),
            from: told(|own| own.not_before().to_string()),
            until: told(|own| own.not_after().to_string()),
            current: now.and_then(|now| verified(Some(now))),
            trusted: verified(None),
        }
    }
}

/// Whether `authority` signed it and all is within its time `at` these seconds since 1970; whenever, if there are none.
fn signed(own: &X509Ref, authority: &X509Ref, at: Option<i64>) -> Result<bool, ErrorStack> {
    let mut rules = X509VerifyParam::new()?;
    match at {
        Some(at) => rules.set_time(at),
        None => rules.set_flags(X509VerifyFlags::NO_CHECK_TIME)?,
    }
    let mut store = X509StoreBuilder::new()?;
    store.add_cert(authority.to_owned())?;
    store.set_param(&rules)?;
    X509StoreContext::new()?.init(&store.build(), own, &*Stack::new()?, X509StoreContextRef::verify_cert)
}

/// `CN = etcd, O = a lab`.
fn words(name: &X509NameRef) -> String {
    let word = |entry: &X509NameEntryRef| {
        let value = entry.data().to_string().unwrap_or_default();
        format!("{} = {value}", entry.object().nid().short_name().unwrap_or("?"))
    };
    name.entries().map(word).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a node of the recorded lab said.
    fn recorded() -> String {
        let evidence: serde_json::Value =
            serde_json::from_str(include_str!("../explain/samples/healthy.json")).expect("JSON");
        let text = &evidence["nodes"]["calico-01"]["answers"]["certificates"]["stdout"];
        text.as_str().expect("a text").to_owned()
    }

    #[test]
    fn each_is_judged_by_the_authority_beside_it_and_the_clock_of_the_node() {
        let text = recorded();
        let all = Certificate::parse(&text);
        let files: Vec<&str> = all.iter().map(|one| one.file.as_str()).collect();
        assert_eq!(files, ["ca.crt", "etcd.crt", "node.crt"]);
        assert!(all.iter().all(|one| (one.current, one.trusted) == (Some(true), Some(true))), "{all:#?}");
        let etcd = &all[1];
        assert_eq!(
            (etcd.subject.as_str(), etcd.issuer.as_str(), etcd.until.as_str()),
            ("CN = etcd", "CN = the authority of primer", "Nov 21 00:00:00 2028 GMT")
        );
        // Years later on that node's clock.
        let late = text.replacen("now=1", "now=2", 1);
        let all = Certificate::parse(&late);
        assert!(all.iter().all(|one| (one.current, one.trusted) == (Some(false), Some(true))), "{all:#?}");
    }

    #[test]
    fn what_cannot_be_read_is_not_found_out() {
        let text = recorded();
        // The answer ends in the middle of the second file.
        let cut = &text[..text.find("file=etcd.crt").expect("it is there") + 80];
        let all = Certificate::parse(cut);
        assert_eq!(all[0].trusted, Some(true));
        assert_eq!((all[1].subject.as_str(), all[1].current, all[1].trusted), ("", None, None));
        // No authority, no clock.
        let alone = &text[text.find("file=etcd.crt").expect("it is there")..];
        assert!(Certificate::parse(alone).iter().all(|one| (one.current, one.trusted) == (None, None)));
        assert!(Certificate::parse("").is_empty());
    }
}
