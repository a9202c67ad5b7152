//! Containers on a node's pod network: the words of the node's own helper, in this one place.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::command::Argv;

/// The helper that every node has.
pub const HELPER: &str = "calicolab-pod";

/// A container's port on which a probe container tells who it is.
pub const HTTP_PORT: u16 = 8080;

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
/// It answers HTTP with [`probe_page`] and ends by itself.
pub fn raise_probe(nonce: &str, node: &str) -> Argv {
    const SERVE: &str = "mkdir /tmp/www; echo $1 >/tmp/www/index.html; httpd -p $2 -h /tmp/www; exec sleep $3";
    let serve = Argv::script(SERVE, [probe_page(nonce, node), HTTP_PORT.to_string(), PROBE_LIFE_S.to_string()]);
    ensure(&probe_name(nonce), &serve).bounded(RAISE_LIMIT)
}

/// Remove the probe container of the proof `nonce`, and those that proofs which were killed left behind.
///
/// It is not waited for: the node does it by itself once it is told.
pub fn farewell(nonce: &str) -> Argv {
    const SCRIPT: &str = r#"setsid sh -c '
name=$1 now=$2 life=$3 helper=$4
"$helper" del "$name"
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
    Argv::script(SCRIPT, ["farewell", &probe_name(nonce), now, &life, HELPER])
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
