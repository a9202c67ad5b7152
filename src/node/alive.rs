//! Whether something still comes in over BGP's connections: each peer is asked for its routes, and the bytes are counted.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::command::Argv;

/// Bytes received from each peer before and after it was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alive(BTreeMap<Ipv4Addr, (u64, u64)>);

/// Ask every peer whose session is Established for its routes, and wait up to two seconds for each to answer.
///
/// No connection is made and no session touched: a route refresh goes over those that stand, and is answered even by
/// who has no route. On long timers nothing else would come for minutes.
pub fn ask() -> Argv {
    const SCRIPT: &str = r#"
bytes() {
  ss -4 -H -tnOi state established '( sport = :179 or dport = :179 )' | awk '{
    to = $4; sub(/:[0-9]+$/, "", to); got = 0
    for (i = 5; i <= NF; i++) if (index($i, "bytes_received:") == 1) got = substr($i, 16)
    print to, got
  }' | sort
}
both() { printf '%s\n--\n%s\n' "$before" "$after"; }
before=$(bytes)
for one in $(timeout -k 1 4 birdc -r show protocols | awk '$2 == "BGP" && $6 == "Established" { print $1 }'); do
  timeout -k 1 4 birdc reload in "$one" >&2
done
for try in 1 2 3 4 5 6 7 8 9 10; do
  after=$(bytes)
  both | awk '$1 == "--" { late = 1; next } !late { old[$1] = $2; next } $2 + 0 <= old[$1] + 0 { dead = 1 } END { exit dead }' && break
  sleep 0.2
done
both"#;
    Argv::script(SCRIPT, [""; 0])
}

impl Alive {
    /// Read the answer to [`ask`].
    pub fn parse(text: &str) -> Self {
        let mut known = BTreeMap::new();
        let mut late = false;
        for line in text.lines() {
            if line == "--" {
                late = true;
            } else if let Some((address, bytes)) = line.split_once(' ')
                && let (Ok(address), Ok(bytes)) = (address.parse(), bytes.trim().parse::<u64>())
            {
                let (before, after) = known.entry(address).or_insert((0, 0));
                *(if late { after } else { before }) = bytes;
            }
        }
        Self(known)
    }

    /// How many bytes came from a peer after it was asked; `None` if no connection with it stands.
    pub fn received(&self, peer: Ipv4Addr) -> Option<u64> {
        self.0.get(&peer).map(|(before, after)| after.saturating_sub(*before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_counted_for_each_peer() {
        let alive =
            Alive::parse("198.18.7.12 105\n198.18.7.13 209\n\n--\n198.18.7.12 209\n198.18.7.13 209\n198.18.7.14 19\n");
        let received = |last: u8| alive.received(Ipv4Addr::new(198, 18, 7, last));
        assert_eq!((received(12), received(13), received(14), received(15)), (Some(104), Some(0), Some(19), None));
        assert_eq!(Alive::parse("\n--\n"), Alive::default());
    }
}
