//! How two plans differ, key by key, for people who asked `up` for another cluster than the one that stands.

use serde_json::Value;

use crate::lab::plan::Plan;

/// One line for each key whose value differs (`bgp.mesh: true, now false`); none if the plans are the same.
pub fn differences(old: &Plan, new: &Plan) -> Vec<String> {
    let value = |plan: &Plan| serde_json::to_value(plan).expect("a plan is plain data");
    let mut found = Vec::new();
    compare("", &value(old), &value(new), &mut found);
    found
}

fn compare(path: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match (old, new) {
        (Value::Object(one), Value::Object(other)) => {
            for key in one.keys().chain(other.keys().filter(|key| !one.contains_key(*key))) {
                let nothing = Value::Null;
                compare(&below(key), one.get(key).unwrap_or(&nothing), other.get(key).unwrap_or(&nothing), found);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (index, (one, other)) in one.iter().zip(other).enumerate() {
                compare(&below(&index.to_string()), one, other, found);
            }
        }
        (Value::Array(one), Value::Array(other)) => {
            found.push(format!("{path}: {} of them, now {}", one.len(), other.len()));
        }
        _ if old != new => found.push(format!("{path}: {old}, now {new}")),
        _ => {}
    }
}
