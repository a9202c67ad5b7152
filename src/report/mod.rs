//! Readers of the events: bars, lines, JSON. One of them is chosen at the start and lives as long as the story.

mod bars;
pub mod html;
mod json;
pub mod junit;
mod lines;
mod picture;
pub mod watch;

use std::io::IsTerminal as _;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;

use crate::event::{Event, Events, Stamped};

/// Who reads the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Spinners and bars on a terminal's standard error.
    Bars,
    /// One plain line a happening on standard error.
    Lines,
    /// One JSON object a happening on standard output.
    Json,
}

impl Manner {
    /// JSON if asked for; bars on a terminal that did not ask for plainness; lines elsewhere.
    pub fn choose(json: bool) -> Self {
        let plain = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        if json {
            Self::Json
        } else if std::io::stderr().is_terminal() && !plain("CI") && !plain("NO_COLOR") {
            Self::Bars
        } else {
            Self::Lines
        }
    }
}

/// A reader at work on a thread of its own; a slow terminal does not slow the story.
pub struct Reporter {
    thread: JoinHandle<()>,
}

impl Reporter {
    /// Start reading.
    pub fn start(manner: Manner) -> (Events, Self) {
        let (events, stream) = Events::channel();
        let thread = std::thread::spawn(move || match manner {
            Manner::Bars => follow(stream, bars::Bars::new()),
            Manner::Lines => follow(stream, lines::Lines::new()),
            Manner::Json => follow(stream, json::Json),
        });
        (events, Self { thread })
    }

    /// Wait until the last event is shown. Every [`Events`] must be gone by then.
    pub fn finish(self) {
        // A reader that panicked has lost its bars, not the story.
        let _ = self.thread.join();
    }
}

/// Something that shows events.
trait Reader {
    fn read(&mut self, stamped: &Stamped);
}

fn follow(mut stream: UnboundedReceiver<Stamped>, mut reader: impl Reader) {
    while let Some(stamped) = stream.blocking_recv() {
        reader.read(&stamped);
    }
}

/// Write data to standard output. A reader that has gone away (`| head`) is no failure.
pub fn data(text: &str) {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    if !text.ends_with('\n') {
        let _ = out.write_all(b"\n");
    }
    let _ = out.flush();
}

/// Write a value to standard output as indented JSON.
pub fn json_data(value: &impl serde::Serialize) {
    data(&serde_json::to_string_pretty(value).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}")));
}

/// Write talk to standard error, once, at the end of a story.
pub fn talk(text: &str) {
    use std::io::Write as _;
    let mut err = std::io::stderr().lock();
    let _ = err.write_all(text.trim_end().as_bytes());
    let _ = err.write_all(b"\n");
}

/// Whether a user sits at both ends: what is typed comes from a terminal, and what is given out goes to one.
pub fn is_terminal() -> bool {
    use std::io::IsTerminal as _;
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

/// Whether the user, asked on a terminal, says yes; none where nobody can be asked.
pub fn agreed(question: &str) -> Option<bool> {
    use std::io::{IsTerminal as _, Write as _};
    let mut err = std::io::stderr();
    if !(std::io::stdin().is_terminal() && err.is_terminal()) {
        return None;
    }
    let asked = write!(err, "{question} [y/N] ").and_then(|()| err.flush());
    let mut said = String::new();
    asked.and_then(|()| std::io::stdin().read_line(&mut said)).ok()?;
    Some(matches!(said.trim(), "y" | "Y" | "yes"))
}

/// `0.4s`, `12s`, `2m05s`.
pub fn short(took: Duration) -> String {
    let seconds = took.as_secs_f64();
    if seconds < 10.0 {
        format!("{seconds:.1}s")
    } else if seconds < 60.0 {
        format!("{seconds:.0}s")
    } else {
        format!("{}m{:02}s", took.as_secs() / 60, took.as_secs() % 60)
    }
}

/// The number of a step among those announced: `[3/6] boot`.
struct Steps(Vec<crate::event::Step>);

impl Steps {
    fn title(&self, step: crate::event::Step) -> String {
        match self.0.iter().position(|known| *known == step) {
            Some(at) => format!("[{}/{}] {:<8}", at + 1, self.0.len(), step.word()),
            None => format!("      {:<8}", step.word()),
        }
    }

    fn learn(&mut self, event: &Event) {
        if let Event::Begin { steps, .. } = event {
            self.0.clone_from(steps);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        let shown: Vec<String> = [0.44, 9.96, 12.3, 125.0].map(|s| short(Duration::from_secs_f64(s))).into();
        assert_eq!(shown, ["0.4s", "10.0s", "12s", "2m05s"]);
    }
}
