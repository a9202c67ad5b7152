//! One fault of the catalogue on a lab: seen by `verify`, named by `explain`, undone to a proven cluster.

use std::time::Instant;

use serde_json::Value;

use crate::lab::Lab;

/// What came of one fault.
pub struct Tried {
    /// The fault, what saw it, how it was explained, seconds.
    pub line: String,
    /// What was wrong, in a line; the whole diagnosis was told by then.
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

/// How a fault was seen and explained.
struct Look {
    /// The earliest check that failed, and what it says.
    by: String,
    says: String,
    layer: Value,
    diagnosis: Value,
    /// Seconds: until the earliest check said so, from the look's beginning, and of the explanation.
    seen: f64,
    explained: f64,
}

impl Look {
    /// Verify for so many seconds, which is to end with `code`, and explain.
    fn take(lab: &Lab, patience: &str, code: i32) -> Self {
        let proof = lab.json(&["verify", "-o", "json", "--timeout", patience], code);
        let failing = failing(&proof);
        let first = failing.first();
        let reads = Instant::now();
        let diagnosis = lab.json(&["explain", "--last", "-o", "json"], 0);
        Self {
            by: proof["earliest_failing"].as_str().unwrap_or("nothing").into(),
            says: first.and_then(|check| check["text"].as_str()).unwrap_or_default().into(),
            layer: first.map_or(Value::Null, |check| check["layer"].clone()),
            // The rest of the proof may take longer.
            seen: first.and_then(|check| check["took_s"].as_f64()).unwrap_or_default(),
            explained: reads.elapsed().as_secs_f64(),
            diagnosis,
        }
    }

    fn named(&self) -> &str {
        self.diagnosis["first"]["id"].as_str().unwrap_or("nothing")
    }

    /// Whether it is what the catalogue promises of this fault.
    fn is_right(&self, fault: &Value) -> bool {
        if fault["symptom"].is_null() {
            // What breaks nothing may be warned of.
            return self.diagnosis["outcome"] == "nothing-broken"
                && ids(&self.diagnosis["warnings"]) == [fault["explained"].as_str().expect("a word")];
        }
        self.layer == fault["symptom"] && self.named() == fault["explained"]
    }
}

/// Make it, look, and undo it.
pub fn tried(lab: &Lab, fault: &Value) -> Tried {
    let word = word(fault);
    let began = Instant::now();
    lab.ok(&["fault", "add", word]);
    let made = began.elapsed().as_secs_f64();
    let broken = !fault["symptom"].is_null();
    // What breaks nothing lets every session return, if it is waited for.
    let (patience, code) = if broken { ("1", 21) } else { ("25", 0) };
    let mut look = Look::take(lab, patience, code);
    let mut again = "";
    if !look.is_right(fault) {
        // On a host that is busy beyond measure a session can fall and return beside the fault: what is still there
        // after this time is the fault's. Both looks are told.
        told(&format!(
            "{word}: first seen by {}: {}, named {}\n{:#}\n",
            look.by,
            look.says,
            look.named(),
            look.diagnosis
        ));
        look = Look::take(lab, "20", code);
        again = "  at the second look";
    }
    let right = look.is_right(fault);
    let undone = lab.run(&["fault", "clear"]).status.code() == Some(0);
    if !undone {
        lab.run(&["verify"]);
    }
    if right && broken {
        let first = &look.diagnosis["first"];
        let whole = first["remedy"].as_str().is_some_and(|remedy| remedy.contains("calicolab"))
            && !first["evidence"].as_array().expect("evidence").is_empty()
            && !first["ruled_out"].as_array().expect("rivals").is_empty();
        assert!(whole, "{word}: {first:#}");
    }
    let wrong = !(right && undone);
    if wrong {
        told(&format!("{:#}\n", look.diagnosis));
    }
    let (by, named, seen, explained) = (&look.by, look.named(), made + look.seen, look.explained);
    Tried {
        line: format!(
            "{word:<18} {by:<34} {named:<18} {seen:>5.1} s  {explained:>5.1} s{again}{}\n",
            if wrong { "  WRONG" } else { "" }
        ),
        wrong: wrong.then(|| format!("{word}: seen by {by}: {}, named {named}, undone {undone}", look.says)),
    }
}

/// Print the table.
#[expect(clippy::print_stderr, reason = "the table is what such a test is read for")]
pub fn told(table: &str) {
    eprint!("{table}");
}
