//! Commands and files over SSH, against a real sshd.

use std::time::{Duration, Instant};

use calicolab::command::{Argv, Ended};
use calicolab::ssh::{Input, OUTPUT_CAP, Remote, SshError};

use crate::support::sshd::Sshd;
use crate::support::waiting::eventually;

/// More than any command here needs on a busy host.
const LIMIT: Duration = Duration::from_secs(30);
const NO_WORDS: [&str; 0] = [];

async fn connect(sshd: &Sshd) -> Remote {
    Remote::connect(&sshd.target(), sshd.node(), &sshd.keys().key_file(), LIMIT).await.expect("let in")
}

fn sh(script: &str) -> Argv {
    Argv::script(script, NO_WORDS)
}

#[tokio::test]
async fn streams_status_and_words_come_through() {
    let sshd = Sshd::start();
    let remote = connect(&sshd).await;
    let argv = Argv::script(r#"printf '%s|' "$@"; echo oops >&2; exit 7"#, ["a b", "it's", "$HOME", "", "*"]);
    let output = remote.run(&argv, LIMIT).await.expect("ran");
    assert_eq!(output.stdout, "a b|it's|$HOME||*|");
    assert_eq!(output.stderr, "oops\n");
    assert_eq!(output.ended, Ended::Exit(7));
}

#[tokio::test]
async fn much_on_stderr_and_little_on_stdout_are_both_whole() {
    let sshd = Sshd::start();
    let remote = connect(&sshd).await;
    let output = remote.run(&sh("head -c 8388608 /dev/zero | tr '\\0' e >&2; echo out"), LIMIT).await.expect("ran");
    assert_eq!(output.stdout, "out\n");
    assert_eq!(output.stderr.len(), 8 << 20);
    assert!(output.ok());
}

#[tokio::test]
async fn a_large_input_arrives_whole() {
    let sshd = Sshd::start();
    let remote = connect(&sshd).await;
    let bytes: Vec<u8> = (0..4u32 << 20).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let sum = |bytes: &[u8]| {
        use sha2::Digest as _;
        sha2::Sha256::digest(bytes).iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
    };
    let expected = format!("{}  -\n", sum(&bytes));
    let file = sshd.folder().join("large");
    std::fs::write(&file, &bytes).expect("written");
    for input in [Input::Bytes(bytes), Input::File(file)] {
        let output = remote.run_with_input(&Argv::new("sha256sum"), input, LIMIT).await.expect("ran");
        assert_eq!(output.stdout, expected);
    }
}

#[tokio::test]
async fn input_that_nobody_reads_holds_nothing_up() {
    let sshd = Sshd::start();
    let remote = connect(&sshd).await;
    let output = remote.run_with_input(&Argv::new("true"), Input::Bytes(vec![0; 8 << 20]), LIMIT).await.expect("ran");
    assert!(output.ok());
    assert!(remote.run(&Argv::new("true"), LIMIT).await.expect("the session goes on").ok());
}

#[tokio::test]
async fn the_status_counts_that_comes_after_the_end_of_the_streams() {
    let sshd = Sshd::start();
    let remote = connect(&sshd).await;
    let output = remote.run(&sh("exec >&- 2>&-; sleep 0.5; exit 3"), LIMIT).await.expect("ran");
    assert_eq!(output.ended, Ended::Exit(3));
}

#[tokio::test]
async fn a_signal_is_not_success() {
    let sshd = Sshd::start();
    let remote = connect(&sshd).await;
    let output = remote.run(&sh("echo half; kill -9 $$"), LIMIT).await.expect("ran");
    assert_eq!(output.ended, Ended::Signal("KILL".into()));
    assert_eq!(output.stdout, "half\n");
}

#[tokio::test]
async fn a_lost_connection_is_not_success() {
    let sshd = Sshd::start();
    let remote = connect(&sshd).await;
    let mark = sshd.folder().join("begun");
    let command = Argv::script("echo half; : >\"$1\"; sleep 20", [mark.to_str().expect("plain")]);
    let queued = Argv::new("true");
    let (first, second, ()) = tokio::join!(remote.run(&command, LIMIT), remote.run(&queued, LIMIT), async {
        eventually("the command begins", || mark.exists().then_some(())).await;
        sshd.kill_connections();
    });
    assert!(matches!(first, Err(SshError::Lost { source: Some(_), .. })), "{first:?}");
    assert!(matches!(second, Err(SshError::Lost { .. })), "who waits in the queue is told: {second:?}");
    let later = remote.run(&Argv::new("true"), LIMIT).await;
    assert!(matches!(later, Err(SshError::Lost { .. })), "{later:?}");
    assert!(connect(&sshd).await.run(&Argv::new("true"), LIMIT).await.expect("a new connection").ok());
}

#[tokio::test]
async fn the_far_side_ends_a_command_that_is_too_slow() {
    let sshd = Sshd::start();
    let remote = connect(&sshd).await;
    let start = Instant::now();
    let error = remote.run(&sh("sleep 60"), Duration::from_secs(1)).await.expect_err("too slow");
    assert!(matches!(error, SshError::TooLong { .. }), "{error:?}");
    assert!(start.elapsed() < LIMIT, "by the far side's own limit");
    assert!(remote.run(&Argv::new("true"), LIMIT).await.expect("the session goes on").ok());
    let error = remote.run(&sh("trap '' TERM; while :; do sleep 1; done"), Duration::from_secs(1)).await;
    assert!(matches!(error, Err(SshError::TooLong { .. })), "also one that will not go: {error:?}");
    let own = remote.run(&sh("exit 124"), LIMIT).await.expect("ran");
    assert_eq!(own.ended, Ended::Exit(124), "a command's own 124 is not ours to take");
}

#[tokio::test]
async fn our_own_limit_holds_where_the_far_sides_does_not() {
    let sshd = Sshd::start();
    let remote = connect(&sshd).await;
    let pids = sshd.folder().join("pids");
    // A stopped `timeout` cannot end anything.
    let command =
        Argv::script("echo $$ $PPID >\"$1\"; kill -STOP $PPID; exec sleep 60", [pids.to_str().expect("plain")]);
    let error = remote.run(&command, Duration::from_secs(1)).await.expect_err("too slow");
    assert!(matches!(error, SshError::TooLong { .. }), "{error:?}");
    assert!(remote.run(&Argv::new("true"), LIMIT).await.expect("the session goes on").ok());
    for pid in std::fs::read_to_string(pids).expect("written").split_whitespace() {
        std::process::Command::new("kill").args(["-9", pid]).status().expect("kill runs");
    }
}

#[tokio::test]
async fn two_at_the_same_time_wait_for_each_other_and_succeed() {
    let sshd = Sshd::start();
    let remote = connect(&sshd).await;
    let log = sshd.folder().join("log");
    let one = Argv::script("echo begin >>\"$1\"; sleep 0.2; echo end >>\"$1\"", [log.to_str().expect("plain")]);
    let (first, second) = tokio::join!(remote.run(&one, LIMIT), remote.run(&one, LIMIT));
    assert!(first.expect("ran").ok() && second.expect("ran").ok());
    assert_eq!(std::fs::read_to_string(log).expect("written"), "begin\nend\nbegin\nend\n");
}

#[tokio::test]
async fn a_dropped_future_calls_its_command_off() {
    let sshd = Sshd::start();
    let remote = connect(&sshd).await;
    let mark = sshd.folder().join("begun");
    let command = Argv::script(": >\"$1\"; sleep 60", [mark.to_str().expect("plain")]);
    tokio::select! {
        _ = remote.run(&command, LIMIT) => panic!("it sleeps"),
        () = eventually("the command begins", || mark.exists().then_some(())) => {}
    }
    // Nobody waits for what was called off: it would take longer than this may.
    assert!(remote.run(&Argv::new("true"), LIMIT).await.expect("the session goes on").ok());
}

#[tokio::test]
async fn commands_called_off_that_still_run_end_the_session_before_they_fill_it() {
    let sshd = Sshd::start();
    let remote = connect(&sshd).await;
    let sleep = Argv::new("sleep").arg("20");
    let mut lost = None;
    for _ in 0..20 {
        match tokio::time::timeout(Duration::from_millis(200), remote.run(&sleep, LIMIT)).await {
            Err(_) => {}
            Ok(result) => {
                lost = Some(result.expect_err("it sleeps"));
                break;
            }
        }
    }
    let lost = lost.expect("sshd takes ten at most");
    assert!(lost.is_lost(), "whoever connects again goes on: {lost:?}");
    assert!(connect(&sshd).await.run(&Argv::new("true"), LIMIT).await.expect("a new connection").ok());
}

#[tokio::test]
async fn output_without_end_is_cut_off() {
    let sshd = Sshd::start();
    let remote = connect(&sshd).await;
    let error = remote.run(&Argv::new("yes"), LIMIT).await.expect_err("too much");
    assert!(matches!(error, SshError::TooMuchOutput { cap: OUTPUT_CAP, .. }), "{error:?}");
    assert!(remote.run(&Argv::new("true"), LIMIT).await.expect("the session goes on").ok());
}

#[tokio::test]
async fn an_input_that_cannot_be_read_is_told() {
    let sshd = Sshd::start();
    let remote = connect(&sshd).await;
    let input = Input::File(sshd.folder().join("nothing"));
    let error = remote.run_with_input(&Argv::new("cat"), input, LIMIT).await.expect_err("no such file");
    assert!(matches!(error, SshError::Read { .. }), "{error:?}");
    let broken = Input::Stream(Box::new(Broken));
    let error = remote.run_with_input(&Argv::new("cat"), broken, LIMIT).await.expect_err("it breaks off");
    assert!(matches!(error, SshError::Input { .. }), "{error:?}");
    assert!(remote.run(&Argv::new("true"), LIMIT).await.expect("the session goes on").ok());
}

/// An input that fails at once.
struct Broken;

impl std::io::Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::UnexpectedEof.into())
    }
}
