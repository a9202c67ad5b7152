//! Faults of BGP: its port, its daemon, and what two ends must agree about.

use super::super::{Fault, Victim};
use super::primer;
use crate::proof::check::Layer;

/// Seen in the sessions of the node.
const fn fault(id: &'static str, about: &'static str, inject: &'static str, undo: &'static str) -> Fault {
    super::fault(id, Layer::Session, about, inject, undo)
}

const NO_RULES: &str = "unruled; anew";

pub(super) const ALL: &[Fault] = &[
    fault(
        "port-dropped",
        "port 179 is dropped both ways at the listening end",
        r#"rules <<END
table inet $TABLE {
  chain in { type filter hook input priority -10; iifname "$DEVICE" tcp dport 179 drop; iifname "$DEVICE" tcp sport 179 drop; }
  chain out { type filter hook output priority -10; oifname "$DEVICE" tcp dport 179 drop; oifname "$DEVICE" tcp sport 179 drop; }
}
END
anew"#,
        NO_RULES,
    ),
    fault(
        "port-one-way",
        "port 179 is dropped on its way in alone",
        r#"rules <<END
table inet $TABLE {
  chain in { type filter hook input priority -10; iifname "$DEVICE" tcp dport 179 drop; iifname "$DEVICE" tcp sport 179 drop; }
}
END
anew"#,
        NO_RULES,
    ),
    fault(
        "port-rejected",
        "port 179 is answered with a refusal",
        r#"rules <<END
table inet $TABLE {
  chain in {
    type filter hook input priority -10;
    iifname "$DEVICE" tcp dport 179 reject with tcp reset; iifname "$DEVICE" tcp sport 179 reject with tcp reset;
  }
}
END
anew"#,
        NO_RULES,
    ),
    Fault {
        victim: Victim::Last,
        symptom: None,
        explained: "port-one-way",
        ..fault(
            "port-spared",
            "calls to port 179 are dropped at the end that calls: breaks nothing",
            r#"rules <<END
table inet $TABLE {
  chain in { type filter hook input priority -10; iifname "$DEVICE" tcp dport 179 drop; }
}
END
anew"#,
            NO_RULES,
        )
    },
    primer(fault("bird-stopped", "BIRD is stopped", "systemctl stop bird", "systemctl start bird")),
    fault("bird-hung", "BIRD is there and does nothing", r#"kill -STOP "$(bird)""#, r#"kill -CONT "$(bird)""#),
    primer(fault(
        "port-taken",
        "another daemon has port 179 before BIRD",
        r#"systemctl stop bird
systemd-run --quiet --collect --unit=other-speaker python3 -c 'import socket
listener = socket.socket(); listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("0.0.0.0", 179)); listener.listen()
while True: listener.accept()[0].close()'
for try in 1 2 3 4 5 6 7 8 9 10; do
  if ss -H -ltn 'sport = :179' | grep -q 179; then break; fi
  sleep 0.5
done
systemctl start bird"#,
        "systemctl stop other-speaker; systemctl restart bird",
    )),
    fault(
        "session-disabled",
        "one session is disabled by hand",
        r#"birdc disable "$(with "$PEER_ADDRESS")""#,
        r#"birdc enable "$(with "$PEER_ADDRESS")""#,
    ),
    primer(fault(
        "peer-missing",
        "one session is missing in bird.conf",
        r#"conf "/^protocol bgp .*_$(echo "$PEER_ADDRESS" | tr . _) /,/^}/d""#,
        "unconf",
    )),
    primer(fault(
        "wrong-as",
        "bird.conf has a wrong AS of its own",
        r"conf 's/^  local \(.*\) as .*/  local \1 as 64999;/'",
        "unconf; anew",
    )),
    primer(fault(
        "password",
        "one side has a password",
        r#"conf 's/^template bgp bgp_template {/&\n  password "calicolab-fault";/'"#,
        "unconf; anew",
    )),
    primer(fault(
        "router-id",
        "two nodes have one router id",
        r#"conf "s/^router id .*/router id $PEER_ADDRESS;/""#,
        "unconf",
    )),
];
