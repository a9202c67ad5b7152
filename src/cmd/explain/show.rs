//! An explanation for people.

use std::fmt::Write as _;

use crate::explain::{Cause, Diagnosis, Outcome};

/// How many rivals and failing checks are listed; all are in the JSON.
const SHOWN: usize = 8;

/// The first broken link, its evidence, its rivals, its remedy; then everything else.
pub fn text(diagnosis: &Diagnosis) -> String {
    let mut text = String::new();
    match (diagnosis.outcome, &diagnosis.first) {
        (Outcome::NothingBroken, _) => text.push_str("nothing is broken: every check passes\n"),
        (_, Some(first)) => cause(&mut text, "first broken link", first),
        (_, None) => {
            text.push_str("something is broken, and what was read does not say what; it is one of these:\n");
            for open in &diagnosis.open {
                let _ = writeln!(text, "  {} ({}): {}", open.id, open.link, open.title);
                let _ = writeln!(text, "      would decide: {}", open.decides);
            }
        }
    }
    for other in &diagnosis.also {
        let _ = writeln!(text, "also seen, and it may follow from that: {} [{}, {}]", other.says, other.id, other.link);
        let _ = writeln!(text, "  repair: {}", other.remedy);
    }
    for warning in &diagnosis.warnings {
        let _ = writeln!(text, "not as planned, and breaks nothing: {} [{}]", warning.says, warning.id);
        let _ = writeln!(text, "  repair: {}", warning.remedy);
    }
    for what in &diagnosis.blind {
        let _ = writeln!(text, "cannot be told: {what}");
    }
    if !diagnosis.failing.is_empty() {
        let ids: Vec<String> = diagnosis.failing.iter().map(ToString::to_string).collect();
        let _ = writeln!(text, "failing: {}", cut(&ids));
    }
    text
}

fn cause(text: &mut String, head: &str, cause: &Cause) {
    let _ = writeln!(text, "{head}: {} [{}]", cause.link, cause.id);
    let _ = writeln!(text, "  {}", cause.says);
    let _ = writeln!(text, "evidence:");
    for side in &cause.evidence {
        let _ = writeln!(text, "  {}: {}", side.node, side.saw);
    }
    let _ = writeln!(text, "repair: {}", cause.remedy);
    if !cause.ruled_out.is_empty() {
        let _ = writeln!(text, "ruled out:");
        // The nearest rivals stand last in the order of the chain.
        let from = cause.ruled_out.len().saturating_sub(SHOWN);
        for rival in &cause.ruled_out[from..] {
            let _ = writeln!(text, "  {}: {}", rival.id, rival.by);
        }
        if from > 0 {
            let _ = writeln!(text, "  and {from} more (-o json)");
        }
    }
}

fn cut(ids: &[String]) -> String {
    if ids.len() <= SHOWN {
        return ids.join(", ");
    }
    format!("{} and {} more", ids[..SHOWN].join(", "), ids.len() - SHOWN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::{Link, RuledOut, SCHEMA, Side};

    #[test]
    fn the_first_broken_link_with_all_it_needs() {
        let node = |index: usize| crate::proof::samples::node(index);
        let first = Cause {
            id: "bird-stopped".into(),
            link: Link::Listener,
            says: "BIRD does not run on calico-02".into(),
            evidence: vec![
                Side { node: node(2), saw: "bird.service is inactive (dead)".into() },
                Side { node: node(1), saw: "Mesh_198_18_7_12 is Active, Socket: Connection refused".into() },
            ],
            ruled_out: vec![RuledOut { id: "link-down".into(), by: "lab0 of calico-02 is up".into() }],
            remedy: "calicolab ssh --name demo calico-02 -- sudo systemctl start bird".into(),
            explains: vec![],
        };
        let diagnosis = Diagnosis {
            schema: SCHEMA,
            outcome: Outcome::Explained,
            first: Some(first),
            also: vec![],
            warnings: vec![],
            open: vec![],
            failing: vec![],
            blind: vec![],
        };
        insta::assert_snapshot!(text(&diagnosis), @r"
        first broken link: listener [bird-stopped]
          BIRD does not run on calico-02
        evidence:
          calico-02: bird.service is inactive (dead)
          calico-01: Mesh_198_18_7_12 is Active, Socket: Connection refused
        repair: calicolab ssh --name demo calico-02 -- sudo systemctl start bird
        ruled out:
          link-down: lab0 of calico-02 is up
        ");
    }
}
