//! The processes of a node's daemons, as the kernel tells them.

use crate::command::Argv;

/// The daemons that are looked for, by the names that the kernel knows them by: at most fifteen characters.
const DAEMONS: [&str; 8] =
    ["bird", "etcd", "kube-apiserver", "kubelet", "kube-proxy", "containerd", "dockerd", "calico-node"];

/// One process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// `R` runs, `S` sleeps, `D` waits for a device, `T` was stopped by a signal, `t` by a debugger, `Z` has ended.
    pub state: char,
    /// Its name.
    pub name: String,
}

/// Number, state and name of each of those daemons that is there.
pub fn ask() -> Argv {
    // A process may end between being listed and being read. The name stands in brackets and may have any sign in it.
    const SCRIPT: &str = r#"for file in /proc/[0-9]*/stat; do
  line=; read -r line <"$file"
  name=${line#*(} name=${name%)*} state=${line##*) }
  for one; do [ "$one" != "$name" ] || echo "${line%% *} ${state%% *} $name"; done
done 2>/dev/null"#;
    Argv::script(SCRIPT, DAEMONS)
}

impl Process {
    /// Read the answer to [`ask`].
    pub fn parse(text: &str) -> Vec<Self> {
        let one = |line: &str| {
            let (pid, rest) = line.split_once(' ')?;
            let (state, name) = rest.split_once(' ')?;
            Some(Self { pid: pid.parse().ok()?, state: state.chars().next()?, name: name.into() })
        };
        text.lines().filter_map(one).collect()
    }

    /// Whether it was stopped and does nothing until it is told to go on.
    pub fn stopped(&self) -> bool {
        matches!(self.state, 'T' | 't')
    }

    /// Whether it is there; of one that has ended only its number is left.
    pub fn lives(&self) -> bool {
        !matches!(self.state, 'Z' | 'X')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_process() {
        let all = Process::parse("201 T bird\n300 Z etcd\nnonsense\n");
        assert_eq!(all.len(), 2);
        assert!(all[0].stopped() && all[0].lives() && !all[1].lives() && !all[1].stopped());
        assert_eq!((all[0].pid, all[0].name.as_str()), (201, "bird"));
    }

    #[test]
    fn the_kernel_is_read_as_it_writes() {
        let mut sleeper = std::process::Command::new("sleep").arg("60").spawn().expect("it is there");
        let words = ask()
            .words()
            .iter()
            .map(|word| if word == "bird" { "sleep".into() } else { word.clone() })
            .collect::<Vec<_>>();
        let said = std::process::Command::new(&words[0]).args(&words[1..]).output().expect("a shell");
        let all = Process::parse(&String::from_utf8_lossy(&said.stdout));
        let own = all.iter().any(|one| one.pid == sleeper.id() && one.name == "sleep" && one.lives());
        let _ = sleeper.kill();
        let _ = sleeper.wait();
        assert!(own, "{all:?}");
    }
}
