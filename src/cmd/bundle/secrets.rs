//! Secrets out of texts: private keys in PEM, what follows words like `password`, and this cluster's own keys anywhere.

use std::path::Path;

use serde_json::Value;

/// What stands in place of a secret.
const REMOVED: &str = "(removed)";

/// Words after which a secret stands.
const WORDS: [&str; 9] =
    ["password", "passwd", "secret", "token", "bearer", "api-key", "api_key", "apikey", "authorization"];

/// Shorter lines of a key file would be found by chance.
const LEAST: usize = 24;

/// The secrets of one cluster, and how others are recognised.
pub(super) struct Secrets {
    own: Vec<String>,
}

impl Secrets {
    /// The keys in a cluster's folder, line by line.
    pub(super) fn of(folder: &Path) -> Self {
        let mut own = Vec::new();
        for below in ["ssh", "pki"] {
            let entries = std::fs::read_dir(folder.join(below)).into_iter().flatten().flatten();
            for path in entries.map(|entry| entry.path()) {
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                if text.contains("PRIVATE KEY") {
                    own.extend(
                        text.lines().filter(|line| line.len() >= LEAST && !line.starts_with("---")).map(str::to_owned),
                    );
                }
            }
        }
        Self { own }
    }

    /// The text without them. What is JSON stays JSON.
    pub(super) fn removed(&self, text: &str) -> String {
        if text.trim_start().starts_with(['{', '['])
            && let Ok(mut value) = serde_json::from_str::<Value>(text)
        {
            self.removed_within(&mut value);
            return format!("{value:#}\n");
        }
        let mut text = without_keys(text);
        for own in &self.own {
            if text.contains(own) {
                text = text.replace(own, REMOVED);
            }
        }
        let mut clean: String = text.split_inclusive('\n').map(without_words).collect();
        clean.shrink_to_fit();
        clean
    }

    /// The same for every text within a value: what a key like `token` names, too, and the value of a variable that is
    /// called so, as Kubernetes writes them.
    pub(super) fn removed_within(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.removed(text),
            Value::Array(all) => all.iter_mut().for_each(|one| self.removed_within(one)),
            Value::Object(all) => {
                let variable = all.get("name").and_then(Value::as_str).is_some_and(secret);
                for (key, one) in all {
                    match one {
                        Value::String(text) if secret(key) || variable && key == "value" => REMOVED.clone_into(text),
                        one => self.removed_within(one),
                    }
                }
            }
            _ => {}
        }
    }
}

/// Whether a word names a secret.
fn secret(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    WORDS.iter().any(|one| word.contains(one))
}

/// Without the bodies of private keys, whether their lines end really or as `\n` in a string.
fn without_keys(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("-----BEGIN ") {
        let (before, key) = rest.split_at(at);
        clean.push_str(before);
        let first_line = key.find("-----END ").map_or(key, |end| &key[..end]);
        let private = first_line.split("-----").nth(1).is_some_and(|title| title.ends_with("PRIVATE KEY"));
        let end = key.find("-----END ").and_then(|end| key[end + 9..].find("-----").map(|more| end + 9 + more + 5));
        if private {
            clean.push_str(REMOVED);
            // A key whose end is cut off takes the rest with it.
            rest = end.map_or("", |end| &key[end..]);
        } else {
            let end = end.unwrap_or(key.len());
            clean.push_str(&key[..end]);
            rest = &key[end..];
        }
    }
    clean.push_str(rest);
    clean
}

/// A line without what follows each of [`WORDS`] and a sign of a value: `=`, `:`, a quote, or a blank before a quote.
fn without_words(line: &str) -> String {
    let lower = line.to_ascii_lowercase();
    let mut clean = line.to_owned();
    // From the end, so that places before stay right.
    let mut places: Vec<usize> =
        WORDS.iter().flat_map(|word| lower.match_indices(word).map(|(at, _)| at + word.len())).collect();
    places.sort_unstable();
    for at in places.into_iter().rev() {
        let Some((from, to)) = value(&clean, at) else { continue };
        if &clean[from..to] != REMOVED {
            clean.replace_range(from..to, REMOVED);
        }
    }
    clean
}

/// From where to where the value after a word stands, if one does.
fn value(line: &str, at: usize) -> Option<(usize, usize)> {
    let rest = line.get(at..)?;
    let skipped = rest.trim_start_matches(['"', '\'', '\\', ' ', '\t']);
    let (sign, after) = match skipped.strip_prefix([':', '=']) {
        Some(after) => (true, after),
        // `password "x"`, `Bearer x`: the word and then a quote.
        None => (rest.len() - skipped.len() > 1 && rest[..rest.len() - skipped.len()].contains('"'), skipped),
    };
    if !sign {
        return None;
    }
    let after_quotes = after.trim_start_matches(['"', '\'', '\\', ' ', '\t']);
    let from = line.len() - after_quotes.len();
    let scheme = ["bearer ", "basic "]
        .iter()
        .find(|scheme| after_quotes.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)));
    let from = from + scheme.map_or(0, |scheme| scheme.len());
    let ends = |c: char| c.is_whitespace() || "\"',;\\})&".contains(c);
    let to = line[from..].find(ends).map_or(line.trim_end().len().max(from), |length| from + length);
    (to > from).then_some((from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planted_secrets_are_gone_and_the_rest_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("ssh")).expect("a folder");
        let body = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW";
        let key = format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{body}\n-----END OPENSSH PRIVATE KEY-----\n");
        std::fs::write(folder.path().join("ssh/key"), &key).expect("written");
        let secrets = Secrets::of(folder.path());
        for (planted, kept) in [
            (format!("before\n{key}after\n"), "before\n(removed)\nafter\n"),
            (format!("log: line {body} of a key\n"), "log: line (removed) of a key\n"),
            (format!("{{\"key\":\"-----BEGIN EC PRIVATE KEY-----\\n{body}"), "{\"key\":\"(removed)"),
            ("  password \"hunter2hunter2\";\n".into(), "  password \"(removed)\";\n"),
            ("ETCD_PASSWORD=hunter2hunter2 next\n".into(), "ETCD_PASSWORD=(removed) next\n"),
            ("x {\"token\": \"hunter2hunter2\", \"a\": 1}".into(), "x {\"token\": \"(removed)\", \"a\": 1}"),
            ("Authorization: Bearer hunter2hunter2\n".into(), "Authorization: Bearer (removed)\n"),
        ] {
            let clean = secrets.removed(&planted);
            assert_eq!(clean, kept);
            assert!(!clean.contains("hunter2") && !clean.contains(body));
        }
        let certificate = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        for plain in [certificate, "no password is set here\n", "the passwords differ; a token ring\n", "ä secret\n"] {
            assert_eq!(secrets.removed(plain), plain);
        }
        // Within JSON nothing but values goes, and a text that is JSON is read as such.
        let env =
            serde_json::json!([{"name": "ETCD_PASSWORD", "value": "hunter2hunter2"}, {"name": "a", "value": "b"}]);
        let object = serde_json::json!({"token": "hunter2hunter2", "secret": {"items": [1]}, "env": env, "last": env.to_string()});
        let clean: Value = serde_json::from_str(&secrets.removed(&object.to_string())).expect("JSON still");
        assert!(!clean.to_string().contains("hunter2"), "{clean}");
        assert_eq!((&clean["secret"]["items"][0], &clean["env"][1]["value"]), (&1.into(), &"b".into()));
        let mut value = serde_json::json!({"a": [format!("x {body}")], "n": 1});
        secrets.removed_within(&mut value);
        assert_eq!(value, serde_json::json!({"a": ["x (removed)"], "n": 1}));
    }
}
