//! The vocabulary of happenings, and the sender through which alone anything is told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Version of the event lines; raised when a reader of the old ones could misunderstand.
pub const SCHEMA: u32 = 1;

/// The steps a story can announce, in the terms of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Read the lab, choose names and addresses, ask what the host lacks.
    Plan,
    /// Bring image and artifacts in, verified.
    Fetch,
    /// Write seeds and everything the nodes are given.
    Render,
    /// Start the machines.
    Boot,
    /// Wait for each machine's own word that it is ready, then connect.
    Reach,
    /// Put bytes and secrets in place and start the daemons.
    Install,
    /// Take the proof.
    Prove,
    /// Write a lab with all its bytes as one file.
    Pack,
    /// Check such a file and bring what it holds into place.
    Unpack,
    /// Hash what the cache holds.
    Check,
    /// Keep the machines as they are.
    Save,
    /// Bring the machines back as they were saved.
    Restore,
    /// Power the machines off.
    Stop,
    /// Undo everything.
    Destroy,
}

impl Step {
    /// The word people see.
    pub fn word(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Fetch => "fetch",
            Self::Render => "render",
            Self::Boot => "boot",
            Self::Reach => "reach",
            Self::Install => "install",
            Self::Prove => "prove",
            Self::Pack => "pack",
            Self::Unpack => "unpack",
            Self::Check => "check",
            Self::Save => "save",
            Self::Restore => "restore",
            Self::Stop => "stop",
            Self::Destroy => "destroy",
        }
    }
}

/// How a check stands, as told to people and programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// It holds.
    Pass,
    /// It does not hold yet.
    NotYet,
    /// It cannot come to hold.
    Never,
    /// The node could not be asked.
    Unknown,
}

/// One happening.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A story begins: all its steps, so that a reader knows the total before anything happens.
    Begin {
        /// The verb (`up`, `down`, …).
        verb: String,
        /// The cluster it is about.
        cluster: String,
        /// What will be done, in order.
        steps: Vec<Step>,
    },
    /// A step begins.
    StepStarted {
        /// Which.
        step: Step,
    },
    /// A step came to its end.
    StepDone {
        /// Which.
        step: Step,
        /// Wall time.
        took: Duration,
        /// What came out, in a few words.
        outcome: String,
    },
    /// A step failed; the failure itself is told at the end.
    StepFailed {
        /// Which.
        step: Step,
        /// Wall time.
        took: Duration,
    },
    /// Something moves on; may be lost without harm.
    Progress {
        /// The step it belongs to.
        step: Step,
        /// A node, a file, an image.
        subject: String,
        /// What it is doing or waiting for.
        doing: String,
        /// How much of how much, in bytes or pieces, where that is known.
        done: Option<(u64, u64)>,
    },
    /// A subject is through with its part of a step.
    SubjectDone {
        /// The step it belongs to.
        step: Step,
        /// A node, a file, an image.
        subject: String,
        /// What came out.
        outcome: String,
    },
    /// A machine exists from here on.
    Machine {
        /// The node.
        node: String,
        /// How the provider calls it.
        handle: String,
    },
    /// How a check stands now.
    Check {
        /// Its id.
        check: String,
        /// How it stands.
        mark: Mark,
        /// What was seen, or why not.
        text: String,
    },
    /// Something worth knowing, with its reason.
    Note {
        /// The sentence.
        text: String,
    },
    /// Something that may go wrong later.
    Warning {
        /// The sentence.
        text: String,
    },
    /// What the verb was asked for; the same that `-o json` gives.
    Answer {
        /// As its verb describes it.
        answer: serde_json::Value,
    },
}

/// An event and when it happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stamped {
    /// [`SCHEMA`].
    pub schema: u32,
    /// When, by the host's clock.
    pub at: jiff::Timestamp,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

/// The way to tell; cheap to clone. The reader's end closes when the last one is dropped.
#[derive(Clone, Debug)]
pub struct Events {
    reader: UnboundedSender<Stamped>,
    record: Arc<Mutex<Option<std::fs::File>>>,
}

impl Events {
    /// A sender and the reader's end of it.
    pub fn channel() -> (Self, UnboundedReceiver<Stamped>) {
        let (reader, events) = unbounded_channel();
        (Self { reader, record: Arc::default() }, events)
    }

    /// From here on also write every event as a line to `file` (the cluster's `events.jsonl`).
    pub fn record_to(&self, file: std::fs::File) {
        *self.record.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(file);
    }

    /// Tell. Nobody listening is no error: the work goes on.
    pub fn tell(&self, event: Event) {
        use std::io::Write as _;
        let stamped = Stamped { schema: SCHEMA, at: jiff::Timestamp::now(), event };
        tracing::debug!(event = ?stamped.event);
        let mut record = self.record.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let (Some(file), Ok(mut line)) = (record.as_mut(), serde_json::to_vec(&stamped)) {
            line.push(b'\n');
            // A full disk must not stop a `down`.
            let _ = file.write_all(&line);
        }
        drop(record);
        let _ = self.reader.send(stamped);
    }

    /// What the verb was asked for, for who listens now: it is kept elsewhere where it is worth keeping.
    pub fn answer(&self, answer: serde_json::Value) {
        let stamped = Stamped { schema: SCHEMA, at: jiff::Timestamp::now(), event: Event::Answer { answer } };
        let _ = self.reader.send(stamped);
    }

    /// A sentence worth knowing.
    pub fn note(&self, text: impl Into<String>) {
        self.tell(Event::Note { text: text.into() });
    }

    /// A sentence of warning.
    pub fn warn(&self, text: impl Into<String>) {
        self.tell(Event::Warning { text: text.into() });
    }

    /// A subject moves on within a step.
    pub fn progress(&self, step: Step, subject: impl Into<String>, doing: impl Into<String>) {
        self.tell(Event::Progress { step, subject: subject.into(), doing: doing.into(), done: None });
    }

    /// A subject is through with its part of a step.
    pub fn subject_done(&self, step: Step, subject: impl Into<String>, outcome: impl Into<String>) {
        self.tell(Event::SubjectDone { step, subject: subject.into(), outcome: outcome.into() });
    }
}
