//! What a node's console says of being ready: the words of `ready.sh` on the node, as they are waited for here.

use crate::lab::name::NodeName;
use crate::machine::this_boot;
use crate::wait::Asked;

/// What a node writes to its console when its sshd answers.
pub fn mark(node: &NodeName) -> String {
    format!("CALICOLAB-READY node={node} ")
}

/// Whether `console` says so of this boot. One that no longer knows which instance it is never can: its sshd has no keys.
pub fn said(console: &str, node: &NodeName) -> Asked<()> {
    let mark = mark(node);
    // A line that is being written has no end yet.
    let mut whole = this_boot(console).split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    match whole.find_map(|line| line.trim_end().split_once(&mark)) {
        Some((_, rest)) if rest.ends_with("instance=") => Asked::Never(
            "its disk has lost what the machine was told at its first start, as when this host went down meanwhile: \
             `up --recreate` makes the cluster anew"
                .into(),
        ),
        Some(_) => Asked::Yes(()),
        None => Asked::NotYet("it has not said that it is ready".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_of_this_boot_and_this_node_counts() {
        let node: NodeName = "calico-02".parse().expect("a name");
        let boot = crate::machine::boot_mark(jiff::Timestamp::UNIX_EPOCH);
        let ready = "CALICOLAB-READY node=calico-02 boot=1483d921 instance=";
        let of = |text: &str| said(text, &node);
        for told in [format!("{ready}00694f0e-calico-02\r\n"), format!("{}as it was when it was saved\n", mark(&node))]
        {
            assert!(matches!(of(&format!("{boot}kernel\r\n{told}")), Asked::Yes(())), "{told}");
        }
        assert!(matches!(of(&format!("{boot}{ready}\r\n")), Asked::Never(why) if why.contains("--recreate")));
        let other = format!("{boot}CALICOLAB-READY node=calico-021 instance=a\n");
        for silent in [format!("{ready}one\n{boot}"), other, format!("{boot}{ready}")] {
            assert!(matches!(of(&silent), Asked::NotYet(_)), "{silent}");
        }
    }
}
