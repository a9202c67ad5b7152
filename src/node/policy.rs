//! Policies tried between pods of every node: the story as a script on the master, and how far it has come.

use super::kube;
use crate::command::Argv;
use crate::lab::name::NodeName;

/// Begins the story of the proof `nonce` and tells what is known of it; each later call tells more. It makes a server on
/// each node, and on the last a caller and a stranger, denies the servers to all, allows them to the caller, takes both
/// back, and removes everything.
pub fn ask<'n>(nonce: &str, nodes: impl IntoIterator<Item = &'n NodeName>) -> Argv {
    const SCRIPT: &str = include_str!("policy.sh");
    let words = [kube::ADMIN.to_owned(), nonce.to_owned()];
    Argv::script(SCRIPT, words.into_iter().chain(nodes.into_iter().map(ToString::to_string)))
}

/// What is tried, in its order, as each line says it once it came to hold.
pub const STEPS: [&str; 5] = [
    "before caller answers",
    "deny caller silent",
    "allow caller answers",
    "allow stranger silent",
    "back stranger answers",
];

/// How far the story is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// All of it held.
    Whole,
    /// This step is being tried.
    At(&'static str),
    /// This did not come to hold.
    Wrong(String),
}

/// Read the answer to [`ask`].
pub fn told(text: &str) -> Told {
    if let Some(why) = text.lines().find_map(|line| line.strip_prefix("wrong ")) {
        return Told::Wrong(why.to_owned());
    }
    let open = STEPS.into_iter().find(|step| !text.lines().any(|line| line == *step));
    open.map_or(Told::Whole, Told::At)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_story_is_told_as_far_as_it_came() {
        assert_eq!(told(""), Told::At(STEPS[0]));
        assert_eq!(told("before caller answers\n"), Told::At(STEPS[1]));
        assert_eq!(told(&STEPS.join("\n")), Told::Whole);
        let wrong = format!("{}\nwrong deny caller: kube-02 answers\n", STEPS[0]);
        assert_eq!(told(&wrong), Told::Wrong("deny caller: kube-02 answers".into()));
    }

    #[test]
    fn the_script_is_one_that_a_shell_reads() {
        let argv = ask("1-a", &["one".parse().expect("a name")]);
        let words = argv.words();
        assert_eq!(&words[4..], ["/etc/kubernetes/admin.conf", "1-a", "one"]);
        let read = std::process::Command::new("sh").args(["-n", "-c", &words[2]]).status().expect("a shell");
        assert!(read.success());
    }
}
