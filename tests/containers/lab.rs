//! A home of its own for a test's clusters, the product called in it, and what it said.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use calicolab::event::{Event, Stamped, Step};
use serde_json::Value;

use crate::{left, product, waiting};

/// A test: its name and what it does.
pub type Test = (&'static str, fn());

/// Wait for `condition` where there is no runtime to wait in.
#[track_caller]
pub fn eventually<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(waiting::eventually(what, condition))
}

/// A home for clusters, removed with all of them in the end.
pub struct Lab {
    home: tempfile::TempDir,
    /// Sockets have short paths, so their folder lies elsewhere.
    temp: tempfile::TempDir,
    /// Told only if the test fails: several tests run at once.
    said: Mutex<String>,
}

impl Lab {
    /// An empty one.
    pub fn new() -> Self {
        Self {
            // The target folder is closed to the ordinary user that some tests run as.
            home: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))
                .or_else(|_| tempfile::tempdir())
                .expect("a temporary folder"),
            temp: tempfile::tempdir().expect("a temporary folder"),
            said: Mutex::default(),
        }
    }

    /// Where its clusters are remembered.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Where its sockets are.
    pub fn temp(&self) -> &Path {
        self.temp.path()
    }

    /// The product, about to be started.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = product::command();
        command
            .args(words)
            .env("CALICOLAB_HOME", self.home.path())
            .env("TMPDIR", self.temp.path())
            // Other tests are at work beside, and emulated machines slow: what comes right in the end is right.
            .env("CALICOLAB_VERIFY_TIMEOUT", "240")
            .env_remove("XDG_RUNTIME_DIR")
            .env_remove("CALICOLAB_CLUSTER")
            .stdin(Stdio::null());
        command
    }

    /// Run the product to its end.
    pub fn run(&self, words: &[&str]) -> Output {
        let began = Instant::now();
        let out = self.command(words).output().expect("the product starts");
        let (stdout, stderr) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        let took = began.elapsed().as_secs_f32();
        self.note(&format!(
            "$ calicolab {}  [{:?}, {took:.1} s]\n{stderr}{stdout}",
            words.join(" "),
            out.status.code()
        ));
        out
    }

    /// Run it and want this exit code; what it said to people.
    #[track_caller]
    pub fn ends(&self, words: &[&str], code: i32) -> String {
        let out = self.run(words);
        assert_eq!(out.status.code(), Some(code), "calicolab {words:?}");
        String::from_utf8_lossy(&out.stderr).into_owned()
    }

    /// Run it and want success; what it gave out.
    #[track_caller]
    pub fn ok(&self, words: &[&str]) -> String {
        let out = self.run(words);
        assert_eq!(out.status.code(), Some(0), "calicolab {words:?}");
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    /// Run it and want this exit code and JSON.
    #[track_caller]
    pub fn json(&self, words: &[&str], code: i32) -> Value {
        let out = self.run(words);
        assert_eq!(out.status.code(), Some(code), "calicolab {words:?}");
        serde_json::from_slice(&out.stdout).expect("JSON on standard output")
    }

    /// Run a shell's words on a node, as root.
    #[track_caller]
    pub fn on(&self, node: &str, words: &str) -> String {
        self.ok(&["ssh", node, "--", &format!("sudo sh -c '{words}'")])
    }

    /// Run a shell's words on a node until they succeed.
    #[track_caller]
    pub fn until(&self, node: &str, words: &str) {
        let asked = || self.run(&["ssh", node, "--", &format!("sudo sh -c '{words}'")]).status.success().then_some(());
        eventually(&format!("`{words}` on {node}"), asked);
    }

    /// Start the product and read what happens.
    pub fn follow(&self, words: &[&str]) -> Following<'_> {
        self.note(&format!("$ calicolab --json {}", words.join(" ")));
        let mut child = self
            .command(&[&["--json"], words].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the product starts");
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        Following { lab: self, child, lines }
    }

    /// `down --all`, and nothing may be left.
    #[track_caller]
    pub fn down(&self) {
        self.ok(&["down", "--all"]);
        self.nothing_left();
    }

    /// Nothing of this home may be on the host.
    #[track_caller]
    pub fn nothing_left(&self) {
        let left = left::left(self);
        assert!(left.is_empty(), "left on the host: {left:#?}");
    }

    #[expect(clippy::print_stderr, reason = "who asks to see tests at work sees them at work")]
    fn note(&self, text: &str) {
        if watched() {
            return eprintln!("{text}");
        }
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.push_str(text);
        said.push('\n');
    }
}

impl Drop for Lab {
    #[expect(clippy::print_stderr, reason = "what a failed test needs to be understood")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.said.lock().unwrap_or_else(PoisonError::into_inner));
        }
        // A failed test must not leave machines behind.
        let _ = self.command(&["down", "--all"]).output();
    }
}

fn watched() -> bool {
    std::env::args().any(|word| word == "--nocapture")
}

/// The product at work; a test that fails ends it.
pub struct Following<'a> {
    lab: &'a Lab,
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Following<'_> {
    /// The next thing that happens; `None` when it has ended or told its failure.
    pub fn next(&mut self) -> Option<Event> {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("its standard output can be read");
        self.lab.note(line.trim_end());
        serde_json::from_str::<Stamped>(&line).ok().map(|stamped| stamped.event)
    }

    /// Wait for something to happen; whether it did before the end.
    pub fn sees(&mut self, mut wanted: impl FnMut(&Event) -> bool) -> bool {
        while let Some(event) = self.next() {
            if wanted(&event) {
                return true;
            }
        }
        false
    }

    /// Wait for the beginning of a step.
    #[track_caller]
    pub fn begins(&mut self, wanted: Step) {
        assert!(self.sees(|event| matches!(event, Event::StepStarted { step } if *step == wanted)), "no {wanted:?}");
    }

    /// Wait for a node's machine to exist.
    #[track_caller]
    pub fn machine(&mut self, wanted: &str) {
        assert!(self.sees(|event| matches!(event, Event::Machine { node, .. } if node == wanted)), "no {wanted}");
    }

    /// End it without asking.
    pub fn kill(self) {
        drop(self);
    }

    /// Press Ctrl-C.
    pub fn interrupt(&self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a number");
        rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    }

    /// Read on until it ends; its exit code and the failure it told, if it did.
    pub fn ended(mut self) -> (Option<i32>, String) {
        let mut failure = String::new();
        let mut line = String::new();
        while self.lines.read_line(&mut line).expect("its standard output can be read") > 0 {
            self.lab.note(line.trim_end());
            if line.contains(r#""event":"failure""#) {
                failure.clone_from(&line);
            }
            line.clear();
        }
        (self.child.wait().expect("it was started").code(), failure)
    }
}

impl Drop for Following<'_> {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
