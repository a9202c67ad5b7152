//! Containers on a node's pod network: the words of the node's own helper, in this one place.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::command::Argv;

/// The helper that every node has.
pub const HELPER: &str = "calicolab-pod";

/// Where a node finds the archives of container images that it was given, from the root.
pub const ARCHIVES: &str = "var/lib/calicolab/images";

/// A container's port on which a probe container tells who it is.
pub const HTTP_PORT: u16 = 8080;

/// Where it keeps what it tells.
pub const PAGE: &str = "/tmp/www/index.html";

/// The ports of nodes out of which proofs are given theirs: above those that Kubernetes gives services (up to 32767) and
/// those that kernels draw for calls (up to 60999), and none of its own programs'.
pub const NODE_PORTS: std::ops::Range<u16> = 61000..65000;

/// Seconds after which a probe container ends by itself, and after which one that is still there is swept.
pub const PROBE_LIFE_S: u32 = 600;

/// The longest that making one may take; the first on a slow node also unpacks its tree.
const RAISE_LIMIT: Duration = Duration::from_secs(30);

/// Make a container with `command` in it unless it runs; prints its address.
pub fn ensure(name: &str, command: &Argv) -> Argv {
    Argv::new(HELPER).args(["ensure", name]).args(command.words())
}

/// Run `command` in a container.
pub fn exec(name: &str, command: &Argv) -> Argv {
    Argv::new(HELPER).args(["exec", name]).args(command.words())
}

/// Name of the probe container of the proof `nonce`, which begins with the host's time in Unix seconds and `-`.
pub fn probe_name(nonce: &str) -> String {
    format!("probe-{nonce}")
}

/// Make the probe container of the proof `nonce` unless it runs; prints its address.
///
/// It prints [`probe_page`], answers HTTP with it, and ends by itself.
pub fn raise_probe(nonce: &str, node: &str) -> Argv {
    serving(&probe_name(nonce), nonce, node).bounded(RAISE_LIMIT)
}

fn serving(name: &str, nonce: &str, node: &str) -> Argv {
    const SERVE: &str = "mkdir /tmp/www; echo $1 | tee /tmp/www/index.html; httpd -p $2 -h /tmp/www; exec sleep $3";
    let serve = Argv::script(SERVE, [probe_page(nonce, node), HTTP_PORT.to_string(), PROBE_LIFE_S.to_string()]);
    ensure(name, &serve)
}

/// The ports of a node that are one proof's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodePorts {
    /// The one that leads to the [`HTTP_PORT`] of the container that [`publish`] makes.
    pub published: u16,
    /// The one at which the node itself tells callers who they are to it.
    pub listener: u16,
}

/// The ports of the proof `nonce`. A container of an earlier proof may still be there, and the kubelet refuses a second
/// one with the same port: those of two seconds differ for longer than a container lives.
pub fn node_ports(nonce: &str) -> NodePorts {
    let (seconds, fine) = nonce.split_once('-').unwrap_or((nonce, ""));
    let fine = u64::from_str_radix(fine, 16).unwrap_or_default() % 2;
    let pairs = u64::from(NODE_PORTS.end - NODE_PORTS.start) / 2;
    let pair = (seconds.parse::<u64>().unwrap_or_default() * 2 + fine) % pairs;
    let published = NODE_PORTS.start + 2 * u16::try_from(pair).unwrap_or_default();
    NodePorts { published, listener: published + 1 }
}

/// [`raise_probe`] where a kubelet makes it; at [`NodePorts::listener`] a program of the container's serves on the
/// node's network until the container ends, and tells its callers [`seen`].
pub fn raise_probe_at_edge(nonce: &str, node: &str) -> Argv {
    const SCRIPT: &str = r#"helper=$1 name=$2 page=$3 listener=$4
shift 4
address=$("$@") || exit
"$helper" outside "$name" sh -c '
mkdir -p /tmp/seen/cgi-bin
cat >/tmp/seen/cgi-bin/from <<END
#!/bin/sh
echo "Content-Type: text/plain"
echo
echo "$1 \$REMOTE_ADDR"
END
chmod 755 /tmp/seen/cgi-bin/from
exec httpd -p "0.0.0.0:$2" -h /tmp/seen' listen "$page" "$listener"
echo "$address""#;
    let (name, page, listener) = (probe_name(nonce), probe_page(nonce, node), node_ports(nonce).listener.to_string());
    let own = [HELPER, &name, &page, &listener].map(str::to_owned);
    let serve = serving(&name, nonce, node);
    Argv::script(SCRIPT, own.into_iter().chain(serve.words().to_vec())).bounded(RAISE_LIMIT)
}

/// Make the container of the proof `nonce` that has a port of its node, [`NodePorts::published`]; prints its address.
///
/// It is one of its own: where no port can be given, a container that asks for one does not start at all.
pub fn publish(nonce: &str, node: &str) -> Argv {
    let port = format!("PUBLISH={}:{HTTP_PORT}", node_ports(nonce).published);
    Argv::new("env").arg(port).args(serving(&published_name(nonce), nonce, node).words()).bounded(RAISE_LIMIT)
}

fn published_name(nonce: &str) -> String {
    format!("{}-port", probe_name(nonce))
}

/// Where a listener at the node's address `at` tells a caller of the proof `nonce` who it is there.
pub fn listener(nonce: &str, at: Ipv4Addr) -> String {
    format!("http://{at}:{}/cgi-bin/from", node_ports(nonce).listener)
}

/// As whom a listener on `node` saw its caller; none if it is not that one's answer.
pub fn seen(nonce: &str, node: &str, text: &str) -> Option<Ipv4Addr> {
    text.trim().strip_prefix(&probe_page(nonce, node))?.strip_prefix(' ')?.parse().ok()
}

/// Remove the containers of the proof `nonce`, and those that proofs which were killed left behind.
///
/// It is not waited for: the node does it by itself once it is told.
pub fn farewell(nonce: &str) -> Argv {
    const SCRIPT: &str = r#"setsid sh -c '
name=$1 now=$2 life=$3 helper=$4 published=$5
"$helper" del "$name" "$published"
"$helper" list | while read -r one _; do
  case $one in probe-*)
    made=${one#probe-}; made=${made%%-*}
    case $made in
      ""|0*|*[!0-9]*) ;;
      *) [ $((now - made)) -lt "$life" ] || "$helper" del "$one";;
    esac;;
  esac
done' "$@" </dev/null >/dev/null 2>&1 &"#;
    let now = nonce.split('-').next().unwrap_or_default();
    let life = PROBE_LIFE_S.to_string();
    Argv::script(SCRIPT, ["farewell", &probe_name(nonce), now, &life, HELPER, &published_name(nonce)])
}

/// What the probe container of the proof `nonce` on `node` answers.
pub fn probe_page(nonce: &str, node: &str) -> String {
    format!("{nonce} {node}")
}

/// The address that [`ensure`] or [`raise_probe`] printed: its last line.
pub fn address(text: &str) -> Option<Ipv4Addr> {
    let last = text.trim().lines().last()?.trim();
    last.split('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_the_address() {
        assert_eq!(address("10.244.0.16\n"), Some(Ipv4Addr::new(10, 244, 0, 16)));
        assert_eq!(address("warning\n10.244.0.16/26\n"), Some(Ipv4Addr::new(10, 244, 0, 16)));
        assert_eq!(address(""), None);
        assert_eq!(address("runc: no such file"), None);
    }

    #[test]
    fn proofs_of_different_seconds_have_ports_of_their_own() {
        let ports = |nonce: &str| node_ports(nonce);
        assert_eq!(ports("1795270000-0a1b"), NodePorts { published: 61002, listener: 61003 });
        let mut all = std::collections::BTreeSet::new();
        for second in 0..u64::from(PROBE_LIFE_S) {
            for fine in ["0a1b", "ffffffffffff0a1a"] {
                let NodePorts { published, listener } = ports(&format!("{}-{fine}", 1_795_270_000 + second));
                assert!(NODE_PORTS.contains(&published) && NODE_PORTS.contains(&listener));
                assert!(all.insert(published) && all.insert(listener), "{second} {fine}");
            }
        }
    }

    #[test]
    fn at_the_edge_a_listener_follows_the_container_and_the_address_stays_last() {
        let folder = tempfile::tempdir().expect("a folder");
        let (helper, log) = (folder.path().join(HELPER), folder.path().join("log"));
        let text = format!(
            "#!/bin/sh\necho \"$1 $2\" >>{log}\ncase $1 in\nensure) [ -z \"$FAILS\" ] || exit 7; echo 10.244.0.16;;\n\
             outside) shift 2; echo \"$4 $5 $6\" >>{log}; echo 'httpd: bind: Address in use' >&2; exit 1;;\nesac\n",
            log = log.display()
        );
        std::fs::write(&helper, text).expect("written");
        std::fs::set_permissions(&helper, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("executable");
        let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").expect("a path"));
        let argv = raise_probe_at_edge("1795270000-0a1b", "kube-02");
        let run = |fails: &str| {
            let mut command = std::process::Command::new(argv.program());
            command.args(&argv.words()[1..]).env("PATH", &path).env("FAILS", fails).output().expect("sh runs")
        };
        let out = run("");
        assert!(out.status.success(), "a port that is taken is told by the check that wants it");
        assert_eq!(String::from_utf8(out.stdout).expect("text"), "10.244.0.16\n");
        let told = std::fs::read_to_string(&log).expect("called");
        let name = "probe-1795270000-0a1b";
        assert_eq!(told, format!("ensure {name}\noutside {name}\nlisten 1795270000-0a1b kube-02 61003\n"));
        let out = run("yes");
        assert_eq!((out.status.code(), out.stdout.len()), (Some(7), 0));
    }

    #[test]
    fn only_an_answer_of_that_node_says_who_was_seen() {
        let told = |text: &str| seen("1-a", "kube-02", text);
        assert_eq!(told("1-a kube-02 198.18.7.11\n"), Some(Ipv4Addr::new(198, 18, 7, 11)));
        for text in ["1-a kube-02 \n", "1-a kube-021 198.18.7.11", "1-b kube-02 198.18.7.11", "1-a kube-02 ::1", ""] {
            assert_eq!(told(text), None, "{text}");
        }
    }

    #[test]
    fn a_farewell_sweeps_what_is_old_and_keeps_what_is_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let helper = folder.path().join(HELPER);
        let (list, log) = (folder.path().join("list"), folder.path().join("log"));
        std::fs::write(
            &list,
            "dns 10.244.0.10\nprobe-1000-a 10.244.0.16\nprobe-1900-b 10.244.0.18\nprobe-mine 10.244.0.19\n",
        )
        .expect("written");
        let text = format!(
            "#!/bin/sh\ncase $1 in list) cat {list}; echo end >>{log};; *) echo \"$1 $2\" >>{log};; esac\n",
            list = list.display(),
            log = log.display()
        );
        std::fs::write(&helper, text).expect("written");
        std::fs::set_permissions(&helper, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("executable");
        let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").expect("a path"));
        let argv = farewell("2000-c");
        let told = std::process::Command::new(argv.program()).args(&argv.words()[1..]).env("PATH", path).status();
        assert!(told.expect("sh runs").success());
        // The list's end and the sweeping of what it named are told in no order.
        let told = || {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            text.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>()
        };
        let wanted = ["del probe-1000-a", "del probe-2000-c", "end"].map(str::to_owned).into();
        let end = std::time::Instant::now() + Duration::from_secs(60);
        while told() != wanted {
            assert!(std::time::Instant::now() < end, "{:?}", told());
        }
    }
}
