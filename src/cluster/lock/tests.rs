//! Locks between real processes: this test binary runs itself as the other one.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

use super::*;

const FILE: &str = "CALICOLAB_TEST_LOCK";
/// Set where the other process is to have a child that has the lock too.
const CHILD: &str = "CALICOLAB_TEST_LOCK_CHILD";

/// The other process: takes the lock named by the environment, says what came of it, and waits to be told to end.
#[test]
fn as_another_process() {
    let Some(path) = std::env::var_os(FILE) else { return };
    let taken = Lock::take(Path::new(&path), "up");
    let answer = match &taken {
        Ok(_) => "taken",
        Err(LockError::Held(_)) => "held",
        Err(LockError::Io(_)) => "io",
    };
    let child = taken.as_ref().ok().filter(|_| std::env::var_os(CHILD).is_some()).map(|lock| {
        rustix::io::fcntl_setfd(&lock.file, rustix::io::FdFlags::empty()).expect("inherited");
        Command::new("cat").stdout(Stdio::null()).spawn().expect("cat starts")
    });
    writeln!(io::stdout(), "\nanswer {answer}").expect("the parent reads");
    match child {
        Some(mut child) => drop(child.wait()),
        None => drop(io::stdin().read_line(&mut String::new())),
    }
}

/// Another process at the lock, and its answer.
fn another(path: &Path) -> (Child, String) {
    let mut child = start(path);
    let answer = answer(&mut child);
    (child, answer)
}

fn start(path: &Path) -> Child {
    program(path).spawn().expect("this binary runs")
}

fn program(path: &Path) -> Command {
    let mut program = Command::new(std::env::current_exe().expect("this binary"));
    program
        .args(["--exact", "cluster::lock::tests::as_another_process", "--nocapture"])
        .env(FILE, path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // The harness of a child whose answer has been read complains that nobody reads the rest.
        .stderr(Stdio::null());
    program
}

fn answer(child: &mut Child) -> String {
    let out = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut lines = out.lines().map(|line| line.expect("text"));
    lines.find_map(|line| line.strip_prefix("answer ").map(Into::into)).expect("it answers")
}

#[test]
fn the_next_one_is_told_who_holds_it_until_that_one_is_killed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("lock");
    let (mut child, answer) = another(&path);
    assert_eq!(answer, "taken");

    let Err(LockError::Held(Some(by))) = Lock::take(&path, "down") else { panic!("it is held, and by whom is told") };
    assert_eq!((by.pid, by.verb.as_str()), (child.id(), "up"));
    assert!(by.to_string().starts_with(&format!("`calicolab up` (pid {} on ", child.id())), "{by}");
    assert_eq!(holder(&path), Some(by));

    child.kill().expect("SIGKILL is sent");
    child.wait().expect("it ends");
    assert_eq!(holder(&path), None, "a dead process holds nothing");
    let lock = Lock::take(&path, "down").expect("it is free");
    assert_eq!(holder(&path).map(|by| by.verb), Some("down".into()));
    drop(lock);
    assert_eq!(holder(&path), None, "a finished run holds nothing");
}

fn take(path: &Path) -> Result<Lock, StateError> {
    Lock::take(path, "down").map_err(|error| match error {
        LockError::Held(by) => StateError::Held { cluster: "demo".parse().expect("a name"), by },
        LockError::Io(error) => StateError::io("locked", path)(error),
    })
}

#[tokio::test]
async fn what_a_killed_run_had_begun_is_waited_for_and_who_lives_is_not() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("lock");
    let mut run = program(&path).env(CHILD, "1").spawn().expect("this binary runs");
    assert_eq!(answer(&mut run), "taken");
    let mut asked = 0;
    let refused = after_the_dead(|| {
        asked += 1;
        take(&path)
    });
    assert!(matches!(refused.await, Err(StateError::Held { by: Some(_), .. })));
    assert_eq!(asked, 1);

    run.kill().expect("SIGKILL is sent");
    let stdin = run.stdin.take();
    run.wait().expect("it ends");
    assert!(matches!(take(&path), Err(StateError::Held { by: None, .. })), "its child has it");
    let ends = async { drop(stdin) };
    let (taken, ()) = tokio::join!(after_the_dead(|| take(&path)), ends);
    assert_eq!(holder(&path).map(|by| by.pid), Some(std::process::id()));
    drop(taken.expect("its child is gone"));
}

#[test]
fn of_processes_that_race_one_wins() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("lock");
    let mut racers: Vec<Child> = (0..6).map(|_| start(&path)).collect();
    let mut answers: Vec<String> = racers.iter_mut().map(answer).collect();
    answers.sort();
    assert_eq!(answers, ["held", "held", "held", "held", "held", "taken"]);
    for mut racer in racers {
        drop(racer.stdin.take());
        racer.wait().expect("it ends");
    }
}

#[test]
fn a_lock_on_a_removed_file_keeps_nobody_out() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("lock");
    let first = Lock::take(&path, "down").expect("free");
    assert!(still_at(&first.file, &path).expect("there"));
    std::fs::remove_file(&path).expect("removed");
    assert!(!still_at(&first.file, &path).expect("looked"));
    let second = Lock::take(&path, "up").expect("a new file, a new lock");
    assert!(still_at(&second.file, &path).expect("there"));
}

#[test]
fn threads_that_take_and_remove_never_hold_it_together() {
    use std::sync::atomic::{AtomicU32, Ordering};
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("lock");
    let (inside, wins) = (AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    let Ok(lock) = Lock::take(&path, "down") else { continue };
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two hold it");
                    wins.fetch_add(1, Ordering::SeqCst);
                    inside.fetch_sub(1, Ordering::SeqCst);
                    std::fs::remove_file(&path).expect("only the holder removes it");
                    drop(lock);
                }
            });
        }
    });
    assert!(wins.load(Ordering::SeqCst) > 0);
}

#[test]
fn a_pid_alone_is_nobody() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("lock");
    let lock = Lock::take(&path, "up").expect("free");
    lock.sign(&Holder { started: 1, ..Holder::myself("up") }).expect("written");
    assert_eq!(holder(&path), None);
}
