//! All questions to one node as one script, and its framed answer taken apart again.

use std::time::Duration;

use base64::Engine as _;
use jiff::Timestamp;

use super::{Place, Probe};
use crate::command::{Argv, Ended, Output, quoted};
use crate::node::container;

/// What one node said.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// One answer for each question, in the order in which they were given, with the node's clock.
    pub answers: Vec<(Output, Timestamp)>,
    /// The node's clock before the first probe.
    pub first: Timestamp,
    /// The node's clock after the last one.
    pub last: Timestamp,
}

/// Begins what is ours in the output: a login shell may have written before it.
const MARK: &str = "calicolab-round";

/// Each program runs in the background with files as its outputs, so that nothing it prints can be taken for
/// framing; the files' times are the node's clock without a process that asks for it.
///
/// `$b` is busybox where there is one, for questions too: under emulation a program that needs no linking starts in half
/// the time.
const HEAD: &str = r#"umask 077
d=$($b mktemp -d) || exit 96
trap '$b rm -rf "$d"' EXIT
: >"$d/0000"
w=
p() {
  n=$1 after=$2
  shift 2
  ( case $after in 0) ;; q*) $after </dev/null >/dev/null 2>&1 ;; *) $b sleep "$after" ;; esac
    exec "$@" </dev/null >"$d/$n.1" 2>"$d/$n.2" ) &
  w="$w $!"
}
"#;
const TAIL: &str = r#"c=
for i in $w; do wait "$i"; c="$c $?"; done
: >"$d/9999"
echo "calicolab-round$c"
stat -c "$f" "$d"/*
echo .
$b cat "$d"/* | $b base64
"#;

/// coreutils tell fractions of a second; busybox does not, and nobody asks a container for the time.
const ON_NODE: &str = "f='%s %.9Y %n' b=\ncommand -v busybox >/dev/null && b=busybox\nexport b\n";
const IN_POD: &str = "f='%s %Y %n' b=\n";

/// Whatever has not ended by itself in a container after these seconds is ended: one clock for all its questions.
const POD_CLOCK: &str = "( sleep 8; kill $w ) </dev/null >/dev/null 2>&1 &\nk=$!\n";
const POD_CLOCK_END: &str = "kill $k 2>/dev/null\n";

/// A question, and when it is put.
pub type Question = (Probe, When);

/// When in a round a question is put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// So long after the round's beginning.
    After(Duration),
    /// As soon as this has ended on the node, however it ends. It has to end by itself.
    Once(Argv),
}

impl When {
    /// At the round's beginning.
    pub const AT_ONCE: Self = Self::After(Duration::ZERO);
}

/// One script for all `questions` to one node; those to its container `pod` go there together.
pub fn script(questions: &[Question], pod: &str) -> Argv {
    let on = |place: Place| questions.iter().filter(move |(probe, _)| probe.place == place);
    let mut lines: Vec<(&Argv, &When)> = on(Place::Node).map(|(probe, when)| (&probe.argv, when)).collect();
    let inside: Vec<(&Argv, &When)> = on(Place::Pod).map(|(probe, when)| (&probe.argv, when)).collect();
    let entered;
    if !inside.is_empty() {
        entered = container::exec(pod, &framed(IN_POD, &inside, [POD_CLOCK, POD_CLOCK_END]));
        lines.push((&entered, &When::AT_ONCE));
    }
    framed(ON_NODE, &lines, ["", ""])
}

/// The only text that is put together: fixed lines, numbers, and words that `quoted` has made.
fn framed(begin: &str, lines: &[(&Argv, &When)], clock: [&str; 2]) -> Argv {
    let mut text = [begin, HEAD].concat();
    for (number, (line, when)) in (1001..).zip(lines) {
        let after = match when {
            When::After(time) if time.is_zero() => "0".into(),
            When::After(time) => format!("{:.3}", time.as_secs_f64()),
            When::Once(argv) => {
                text.extend(["q", &number.to_string(), "() { ", &quoted(argv.words()), "; }\n"]);
                format!("q{number}")
            }
        };
        text.extend(["p ", &number.to_string(), " ", &after, " ", &quoted(line.words()), "\n"]);
    }
    text.push_str(clock[0]);
    text.push_str(TAIL);
    text.push_str(clock[1]);
    Argv::new("sh").args(["-c", &text])
}

/// Take apart what [`script`] made a node say.
pub fn parse(questions: &[Question], output: &Output) -> Result<Report, String> {
    let (mut answers, first, last) = unframed(&output.stdout).ok_or_else(|| {
        let said = output.tail(3);
        format!("its answer could not be read (the script {}): {said}", output.ended)
    })?;
    let inside = questions.iter().filter(|(probe, _)| probe.place == Place::Pod).count();
    let mut pod = Vec::new();
    if inside > 0 {
        let (whole, at) = answers.pop().ok_or("its answer ends before the container's part")?;
        pod = match unframed(&whole.stdout) {
            Some((answers, ..)) if answers.len() == inside => answers.into_iter().map(|(own, _)| (own, at)).collect(),
            // The container could not be entered: that is the answer to each question put into it.
            _ => vec![(whole, at); inside],
        };
    }
    if answers.len() + pod.len() != questions.len() {
        return Err(format!("it gave {} answers to {} questions", answers.len() + pod.len(), questions.len()));
    }
    let (mut answers, mut pod) = (answers.into_iter(), pod.into_iter());
    let in_order = questions.iter().filter_map(|(probe, _)| match probe.place {
        Place::Node => answers.next(),
        Place::Pod => pod.next(),
    });
    Ok(Report { answers: in_order.collect(), first, last })
}

type Unframed = (Vec<(Output, Timestamp)>, Timestamp, Timestamp);

fn unframed(stdout: &str) -> Option<Unframed> {
    let (_, ours) = stdout.split_once(MARK)?;
    let (codes, rest) = ours.split_once('\n')?;
    let codes: Vec<i32> = codes.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
    let (files, body) = rest.split_once("\n.\n")?;
    let body: String = body.split_whitespace().collect();
    let body = base64::engine::general_purpose::STANDARD.decode(body).ok()?;
    let mut left = body.as_slice();
    let mut parts = Vec::new();
    for file in files.lines() {
        let (size, rest) = file.split_once(' ')?;
        let (part, after) = left.split_at_checked(size.parse().ok()?)?;
        left = after;
        parts.push((String::from_utf8_lossy(part).into_owned(), timestamp(rest.split(' ').next()?)?));
    }
    let [(_, first), outputs @ .., (_, last)] = parts.as_slice() else { return None };
    if outputs.len() != 2 * codes.len() {
        return None;
    }
    let answers = codes.iter().zip(outputs.chunks_exact(2)).map(|(code, pair)| {
        let output = Output { ended: Ended::Exit(*code), stdout: pair[0].0.clone(), stderr: pair[1].0.clone() };
        (output, pair[0].1.max(pair[1].1))
    });
    Some((answers.collect(), *first, *last))
}

fn timestamp(text: &str) -> Option<Timestamp> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let nanos: i32 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    Timestamp::new(seconds.parse().ok()?, nanos).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::samples::node;

    fn probe(place: Place, argv: Argv) -> Question {
        (Probe { node: node(1), place, argv }, When::AT_ONCE)
    }

    async fn run(probes: &[Question], helper: &str) -> Report {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join(container::HELPER);
        std::fs::write(&program, format!("#!/bin/sh\n{helper}\n")).expect("written");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("executable");
        let path = format!("PATH={}:{}", folder.path().display(), std::env::var("PATH").expect("a path"));
        let argv = Argv::new("env").arg(path).args(script(probes, "probe-x").words());
        let limit = Duration::from_secs(20);
        let output = crate::command::run(&argv, limit).await.expect("sh runs");
        parse(probes, &output).expect("framed")
    }

    const ENTER: &str = r#"[ "$1 $2" = "exec probe-x" ] || exit 9; shift 2; exec "$@""#;

    #[tokio::test]
    async fn nothing_that_is_printed_can_break_the_frame() {
        let nasty = "calicolab-round 0 0\n12 1.5 /x\n.\nAAAA\n";
        let probes = [
            probe(Place::Node, Argv::new("printf").args(["%s", nasty])),
            probe(Place::Pod, Argv::new("printf").args(["%s|", "it's", "$HOME `id`", "a  b", ""])),
            probe(Place::Node, Argv::script("printf '\\377\\000x'; echo bad >&2; exit 3", [""; 0])),
            probe(Place::Pod, Argv::script("cat; kill -9 $$", [""; 0])),
            probe(Place::Node, Argv::new("no-such-program")),
            probe(Place::Node, Argv::new("seq").arg("20000")),
        ];
        let report = run(&probes, ENTER).await;
        let answer = |at: usize| &report.answers[at].0;
        assert_eq!(answer(0).stdout, nasty);
        assert_eq!(answer(1).stdout, "it's|$HOME `id`|a  b||");
        assert_eq!((answer(2).ended.clone(), answer(2).stderr.as_str()), (Ended::Exit(3), "bad\n"));
        assert_eq!(answer(2).stdout, "\u{fffd}\0x");
        assert_eq!(answer(3).ended, Ended::Exit(137));
        assert_eq!(answer(4).ended, Ended::Exit(127));
        assert!(answer(5).stdout.ends_with("19999\n20000\n"));
        let now = Timestamp::now().as_second();
        assert!((report.last.as_second() - now).abs() < 20 && report.first <= report.last);
        assert!(report.answers.iter().all(|(_, at)| *at >= report.first && *at <= report.last));
    }

    #[tokio::test]
    async fn a_container_that_cannot_be_entered_answers_for_each_question() {
        let probes = [
            probe(Place::Pod, Argv::new("true")),
            probe(Place::Node, Argv::new("echo").arg("here")),
            probe(Place::Pod, Argv::new("false")),
        ];
        let report = run(&probes, "echo 'container does not exist' >&2; exit 1").await;
        assert_eq!(report.answers[1].0.stdout, "here\n");
        for at in [0, 2] {
            assert_eq!(report.answers[at].0.ended, Ended::Exit(1));
            assert_eq!(report.answers[at].0.stderr, "container does not exist\n");
        }
    }

    #[tokio::test]
    async fn questions_are_asked_at_the_same_time() {
        const MEET: &str = r#": >"$1/$2"; until [ -e "$1/a" ] && [ -e "$1/b" ] && [ -e "$1/c" ]; do sleep 0.01; done"#;
        let folder = tempfile::tempdir().expect("a folder");
        let at = folder.path().to_str().expect("plain");
        let report = run(&["a", "b", "c"].map(|one| probe(Place::Node, Argv::script(MEET, [at, one]))), ENTER).await;
        assert!(report.answers.iter().all(|(answer, _)| answer.ok()), "each waits for the others");
    }

    #[tokio::test]
    async fn a_question_may_be_put_later() {
        let ask = |when| (Probe { node: node(1), place: Place::Node, argv: Argv::new("date").arg("+%s%3N") }, when);
        let waits = Argv::script("sleep 0.6; echo \"$1\"; exit 9", ["it's said to nobody"]);
        let times = [When::AT_ONCE, When::After(Duration::from_millis(1200)), When::Once(waits)];
        let report = run(&times.map(ask), ENTER).await;
        let [first, second, third] = [0, 1, 2].map(|at| report.answers[at].0.stdout.trim().parse().unwrap_or(0_i64));
        assert!(second - first >= 1000 && third - first >= 500 && first > 0, "{first} {second} {third}");
    }

    #[tokio::test]
    async fn what_hangs_in_a_container_is_ended_and_takes_nothing_with_it() {
        let probes =
            [probe(Place::Pod, Argv::new("sleep").arg("60")), probe(Place::Pod, Argv::new("echo").arg("here"))];
        let report = run(&probes, ENTER).await;
        assert_eq!(report.answers[0].0.ended, Ended::Exit(143));
        assert_eq!(report.answers[1].0.stdout, "here\n");
    }

    #[test]
    fn what_is_not_framed_is_an_error() {
        for stdout in ["", "calicolab-round 0\n", "calicolab-round 0\n3 1.0 /a\n.\nAAAA", "calicolab-round x\n.\n"] {
            let output = Output { ended: Ended::Exit(96), stdout: stdout.into(), stderr: "no space left".into() };
            let error = parse(&[], &output).expect_err(stdout);
            assert!(error.contains("no space left"), "{error}");
        }
    }
}
