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
const RAISE_LIMIT: Duration = Duration::from_secs(15);

/// Make a container with `command` in it; prints its address.
pub fn add(name: &str, command: &Argv) -> Argv {
    Argv::new(HELPER).args(["add", name]).args(command.words())
}

/// Run `command` in a container.
pub fn exec(name: &str, command: &Argv) -> Argv {
    Argv::new(HELPER).args(["exec", name]).args(command.words())
}

/// Remove a container; no error if there is none.
pub fn del(name: &str) -> Argv {
    Argv::new(HELPER).args(["del", name])
}

/// Name of the probe container of the proof `nonce`, which begins with the host's time in Unix seconds and `-`.
pub fn probe_name(nonce: &str) -> String {
    format!("probe-{nonce}")
}

/// Make the probe container of the proof `nonce` unless it is there, and remove those that proofs which were
/// killed left behind; prints its address.
///
/// It answers HTTP with [`probe_page`] and ends by itself.
pub fn raise_probe(nonce: &str, node: &str) -> Argv {
    const SERVE: &str =
        "mkdir -p /tmp/www && echo \"$1\" >/tmp/www/index.html && httpd -p \"$2\" -h /tmp/www && exec sleep \"$3\"";
    const SCRIPT: &str = r#"
name=$1 now=$2 life=$3 helper=$4; shift 4
"$helper" list | {
  there=
  while read -r one address; do
    case $one in
      "$name") there=$address;;
      probe-*)
        made=${one#probe-}; made=${made%%-*}
        case $made in
          ''|0*|*[!0-9]*) ;;
          *) [ $((now - made)) -lt "$life" ] || "$helper" del "$one" >/dev/null 2>&1;;
        esac;;
    esac
  done
  [ -z "$there" ] || { echo "$there"; exit 0; }
  exec "$helper" add "$name" "$@"
}"#;
    let now = nonce.split('-').next().unwrap_or_default();
    let life = PROBE_LIFE_S.to_string();
    let serve = Argv::script(SERVE, [probe_page(nonce, node), HTTP_PORT.to_string(), life.clone()]);
    let raise = Argv::script(SCRIPT, [probe_name(nonce).as_str(), now, life.as_str(), HELPER]).args(serve.words());
    raise.bounded(RAISE_LIMIT)
}

/// What the probe container of the proof `nonce` on `node` answers.
pub fn probe_page(nonce: &str, node: &str) -> String {
    format!("{nonce} {node}")
}

/// The address that [`add`] or [`raise_probe`] printed: its last line.
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
    fn raising_sweeps_what_is_old_and_keeps_what_is_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let helper = folder.path().join(HELPER);
        std::fs::write(
            &helper,
            "#!/bin/sh\ncase $1 in list) cat \"$0.list\";; *) echo \"$1 $2\" >>\"$0.log\"; echo 10.244.0.17;; esac\n",
        )
        .expect("written");
        std::fs::set_permissions(&helper, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("executable");
        let run = |list: &str, nonce: &str| {
            std::fs::write(folder.path().join(format!("{HELPER}.list")), list).expect("written");
            let log = folder.path().join(format!("{HELPER}.log"));
            std::fs::write(&log, "").expect("written");
            let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").expect("a path"));
            let argv = raise_probe(nonce, "calico-01");
            let out = std::process::Command::new(argv.program()).args(&argv.words()[1..]).env("PATH", path).output();
            let out = String::from_utf8(out.expect("sh runs").stdout).expect("text");
            (address(&out), std::fs::read_to_string(log).expect("a log"))
        };
        let list = "dns 10.244.0.10\nprobe-1000-a 10.244.0.16\nprobe-1900-b 10.244.0.18\nprobe-mine 10.244.0.19\n";
        let (address, log) = run(list, "2000-c");
        assert_eq!(address, Some(Ipv4Addr::new(10, 244, 0, 17)));
        assert_eq!(log, "del probe-1000-a\nadd probe-2000-c\n");
        let (address, log) = run("probe-1900-b 10.244.0.18\n", "1900-b");
        assert_eq!((address, log.as_str()), (Some(Ipv4Addr::new(10, 244, 0, 18)), ""));
    }
}
