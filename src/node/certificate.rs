//! A node's certificates: whose they are, until when, and whether its own authority knows them.

use crate::command::Argv;
use crate::node::etcd::PKI;

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

/// Every certificate of a node; no key is read.
pub fn ask() -> Argv {
    // `-partial_chain` and `-no_check_time` leave the question who signed it alone.
    // A program that was killed, on a node that is too busy, has found nothing out.
    const SCRIPT: &str = r#"cd "$1" || exit
said() { if [ "$2" = 0 ]; then echo "$1=yes"; elif [ "$2" -lt 100 ]; then echo "$1=no"; fi; }
for file in *.crt; do
  echo "file=$file"
  openssl x509 -noout -subject -issuer -startdate -enddate -in "$file"
  openssl verify -CAfile ca.crt "$file" >/dev/null 2>&1; said current $?
  openssl verify -no_check_time -CAfile ca.crt "$file" >/dev/null 2>&1; said trusted $?
done"#;
    Argv::script(SCRIPT, [PKI])
}

impl Certificate {
    /// Read the answer to [`ask`].
    pub fn parse(text: &str) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
            let value = value.trim();
            if key == "file" {
                let empty = String::new;
                all.push(Self {
                    file: value.into(),
                    subject: empty(),
                    issuer: empty(),
                    from: empty(),
                    until: empty(),
                    current: None,
                    trusted: None,
                });
            }
            let Some(own) = all.last_mut() else { continue };
            match key {
                "subject" => own.subject = value.into(),
                "issuer" => own.issuer = value.into(),
                "notBefore" => own.from = value.into(),
                "notAfter" => own.until = value.into(),
                "current" => own.current = Some(value == "yes"),
                "trusted" => own.trusted = Some(value == "yes"),
                _ => {}
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_has_its_own_lines() {
        let text = "file=ca.crt\nsubject=CN = the authority of primer\nissuer=CN = the authority of primer\n\
                    notBefore=Nov 20 00:00:00 2026 GMT\nnotAfter=Nov 21 00:00:00 2028 GMT\ncurrent=yes\ntrusted=yes\n\
                    file=etcd.crt\nsubject=CN = etcd\nissuer=CN = somebody\nnotAfter=Nov 20 00:00:00 2026 GMT\ntrusted=no\n";
        let all = Certificate::parse(text);
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].current, all[0].trusted), (Some(true), Some(true)));
        let etcd = &all[1];
        assert_eq!(
            (etcd.file.as_str(), etcd.issuer.as_str(), etcd.trusted),
            ("etcd.crt", "CN = somebody", Some(false))
        );
        assert_eq!(etcd.current, None, "it was not found out");
        assert_eq!(etcd.until, "Nov 20 00:00:00 2026 GMT");
    }
}
