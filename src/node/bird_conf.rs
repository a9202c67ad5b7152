//! What bird.conf says of addresses, ASes and passwords, read without carrying a password away.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::command::Argv;

/// Where the configuration is.
pub const PATH: &str = "/etc/bird/bird.conf";

/// The parts of a configuration that two ends must agree about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BirdConf {
    /// The router id.
    pub router_id: Option<Ipv4Addr>,
    /// The AS of its own in the template or, failing that, in a session.
    pub local_as: Option<u32>,
    /// Sessions: the neighbour's address and the AS expected of it.
    pub neighbors: Vec<(Ipv4Addr, u32)>,
    /// A word for each password, equal where the passwords are.
    pub passwords: Vec<String>,
    /// Whether routes of devices are taken in, without which no next hop can be resolved.
    pub direct: bool,
    /// The blocks it holds as blackholes.
    pub blocks: Vec<Ipv4Net>,
}

/// The configuration with each password replaced by eight digits of its digest. `salt` is never kept, so that nobody
/// can try passwords on the digits later.
pub fn ask(salt: &str) -> Argv {
    const SCRIPT: &str = r#"sed 's/password *"[^"]*"/password "removed"/' "$1" || exit
grep -o 'password *"[^"]*"' "$1" | sort -u | while read -r one; do
  printf '# password %s\n' "$(printf '%s%s' "$2" "$one" | sha256sum | cut -c1-8)"
done"#;
    Argv::script(SCRIPT, [PATH, salt])
}

impl BirdConf {
    /// Read the answer to [`ask`].
    pub fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        for line in text.lines() {
            if let Some(word) = line.strip_prefix("# password ") {
                conf.passwords.push(word.trim().into());
                continue;
            }
            let line = line.split('#').next().unwrap_or_default();
            for statement in line.split([';', '{', '}']) {
                conf.take(&statement.split_whitespace().collect::<Vec<_>>());
            }
        }
        conf
    }

    fn take(&mut self, words: &[&str]) {
        match words {
            ["router", "id", id] => self.router_id = id.parse().ok(),
            ["local", "as", asn] | ["local", _, "as", asn] => self.local_as = self.local_as.or(asn.parse().ok()),
            ["neighbor", address, "as", asn, ..] => {
                self.neighbors.extend(address.parse().ok().zip(asn.parse().ok()));
            }
            ["protocol", "direct", ..] => self.direct = true,
            ["route", net, "blackhole"] => self.blocks.extend(net.parse::<Ipv4Net>().ok()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONF: &str = "log stderr all;\nrouter id 198.18.7.12;\nprotocol device { scan time 2; }\n\
        protocol direct { interface \"lab0\"; }\nprotocol static blocks {\n  route 10.244.0.64/26 blackhole;\n}\n\
        template bgp bgp_template {\n  local 198.18.7.12 as 64512;\n  password \"secret\";\n}\n\
        protocol bgp Mesh_198_18_7_13 from bgp_template {\n  neighbor 198.18.7.13 as 64513;\n  passive on;   # waits\n}\n";

    #[test]
    fn what_two_ends_must_agree_about() {
        let conf = BirdConf::parse(CONF);
        assert_eq!((conf.router_id, conf.local_as), (Some(Ipv4Addr::new(198, 18, 7, 12)), Some(64512)));
        assert_eq!(conf.neighbors, [(Ipv4Addr::new(198, 18, 7, 13), 64513)]);
        assert!(conf.direct);
        assert_eq!(conf.blocks, ["10.244.0.64/26".parse().expect("a block")]);
        assert!(!BirdConf::parse("# protocol direct { }\n").direct);
    }

    #[test]
    fn no_password_is_carried_away() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("bird.conf");
        std::fs::write(&path, CONF).expect("written");
        let read = |salt: &str| {
            let mut words = ask(salt).words().to_vec();
            words[4] = path.display().to_string();
            let out = std::process::Command::new("sh").args(&words[1..]).output().expect("sh runs");
            String::from_utf8(out.stdout).expect("text")
        };
        let (one, other) = (read("salt"), read("other"));
        assert!(!one.contains("secret") && one.contains("password \"removed\""), "{one}");
        let [one, other] = [one, other].map(|text| BirdConf::parse(&text).passwords);
        assert_eq!((one.len(), one[0].len()), (1, 8));
        assert_ne!(one, other);
    }
}
