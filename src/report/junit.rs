//! A proof in JUnit's XML, as CI servers read it: a suite for each layer, a case for each check.

use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};

use crate::proof::{Finding, Proof, Verdict};

/// The proof as XML. A check that does not hold is a failure, one that could not be asked an error; each says what was
/// seen. Times are in seconds.
pub fn junit(proof: &Proof) -> Result<String, SerializeError> {
    let mut report = Report::new(format!("calicolab verify {}", proof.cluster));
    report.set_time(proof.took);
    let mut suites: Vec<TestSuite> = Vec::new();
    for finding in &proof.findings {
        let layer = finding.check.layer().to_string();
        if suites.last().is_none_or(|suite| suite.name.as_str() != layer) {
            suites.push(TestSuite::new(layer));
        }
        suites.last_mut().expect("there is one now").add_test_case(case(finding));
    }
    report.add_test_suites(suites);
    report.to_string()
}

fn case(finding: &Finding) -> TestCase {
    let kind = match &finding.verdict {
        Verdict::Pass { .. } => None,
        Verdict::NotYet { .. } | Verdict::Never { .. } => Some(NonSuccessKind::Failure),
        Verdict::Unknown { .. } => Some(NonSuccessKind::Error),
    };
    let mut status = kind.map_or_else(TestCaseStatus::success, TestCaseStatus::non_success);
    if kind.is_some() {
        status.set_message(finding.verdict.text());
    }
    let mut case = TestCase::new(finding.id.to_string(), status);
    case.set_classname(finding.check.layer().to_string()).set_time(finding.took);
    if kind.is_none() {
        case.set_system_out(finding.verdict.text());
    }
    case
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ci_counts_is_what_the_proof_says() {
        let saved: serde_json::Value =
            serde_json::from_str(include_str!("../explain/samples/healthy.json")).expect("JSON");
        let proof: Proof = serde_json::from_value(saved["proof"].clone()).expect("a proof");
        let mut broken = proof.clone();
        broken.findings[1].verdict = Verdict::Never { why: "a < b & \"c\"".into() };
        broken.findings[2].verdict = Verdict::Unknown { why: "nobody answered".into() };
        let count = |proof: &Proof| {
            let read = Report::deserialize_from_str(&junit(proof).expect("XML")).expect("it is read again");
            (read.tests, read.failures, read.errors)
        };
        let all = proof.findings.len();
        assert_eq!((count(&proof), count(&broken)), ((all, 0, 0), (all, 1, 1)));
        let text = junit(&broken).expect("XML");
        assert!(
            text.contains("a &lt; b &amp; &quot;c&quot;") && text.contains(proof.findings[1].id.as_str()),
            "{text}"
        );
    }
}
