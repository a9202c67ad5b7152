//! One fault of the catalogue on a lab: seen by `verify`, named by `explain`, undone to a proven cluster.

use std::time::Instant;

use serde_json::Value;

use crate::lab::Lab;

/// What came of one fault.
pub struct Tried {
    /// The fault, what saw it, how it was explained, seconds.
    pub line: String,
    /// What was wrong, the diagnosis first: the end of a long output is what one sees of it.
    pub wrong: Option<String>,
}

/// The faults that the product knows.
pub fn catalogue(lab: &Lab) -> Vec<Value> {
    let listed = lab.json(&["fault", "list", "-o", "json"], 0);
    listed["catalogue"].as_array().expect("a catalogue").clone()
}

/// The word of a fault.
pub fn word(fault: &Value) -> &str {
    fault["fault"].as_str().expect("a word")
}

/// The ids of causes.
pub fn ids(causes: &Value) -> Vec<&str> {
    causes.as_array().expect("a list").iter().filter_map(|cause| cause["id"].as_str()).collect()
}

/// The checks of a proof that do not pass.
fn failing(proof: &Value) -> Vec<&Value> {
    proof["checks"].as_array().expect("checks").iter().filter(|check| check["verdict"] != "pass").collect()
}

/// Make it, look, and undo it.
pub fn tried(lab: &Lab, fault: &Value) -> Tried {
    let word = word(fault);
    let began = Instant::now();
    lab.ok(&["fault", "add", word]);
    let made = began.elapsed().as_secs_f64();
    let broken = &fault["symptom"];
    // What breaks nothing lets every session return, if it is waited for.
    let (patience, code) = if broken.is_null() { ("25", 0) } else { ("1", 21) };
    let proof = lab.json(&["verify", "-o", "json", "--timeout", patience], code);
    let failing = failing(&proof);
    let layer = failing.first().map_or(Value::Null, |check| check["layer"].clone());
    // From its being made until the earliest check said so; the rest of the proof may take longer.
    let seen = made + failing.first().and_then(|check| check["took_s"].as_f64()).unwrap_or_default();
    let diagnosis = lab.json(&["explain", "--last", "-o", "json"], 0);
    let named = diagnosis["first"]["id"].as_str().unwrap_or("nothing");
    let right = if broken.is_null() {
        // What breaks nothing may be warned of.
        diagnosis["outcome"] == "nothing-broken"
            && ids(&diagnosis["warnings"]) == [fault["explained"].as_str().expect("a word")]
    } else {
        layer == *broken && named == fault["explained"]
    };
    let by = proof["earliest_failing"].as_str().unwrap_or("nothing");
    let undone = lab.run(&["fault", "clear"]).status.code() == Some(0);
    if !undone {
        lab.run(&["verify"]);
    }
    if right && !broken.is_null() {
        let first = &diagnosis["first"];
        let whole = first["remedy"].as_str().is_some_and(|remedy| remedy.contains("calicolab"))
            && !first["evidence"].as_array().expect("evidence").is_empty()
            && !first["ruled_out"].as_array().expect("rivals").is_empty();
        assert!(whole, "{word}: {first:#}");
    }
    let wrong = !(right && undone);
    Tried {
        line: format!("{word:<18} {by:<34} {named:<18} {seen:>5.1} s{}\n", if wrong { "  WRONG" } else { "" }),
        wrong: wrong.then(|| format!("{diagnosis:#}\n{word}: seen in {layer} by {by}, named {named}, undone {undone}")),
    }
}

/// Print the table.
#[expect(clippy::print_stderr, reason = "the table is what such a test is read for")]
pub fn told(table: &str) {
    eprint!("{table}");
}
