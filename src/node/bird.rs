//! BIRD 1.6 and 2: one value for what either says of itself and its protocols.

use std::net::Ipv4Addr;
use std::time::Duration;

use jiff::civil::{Date, DateTime, Time};

use crate::command::Argv;

/// What BIRD said in one read.
#[derive(Clone, Debug, PartialEq)]
pub struct Bird {
    /// Its version (`1.6.8`), if it greeted.
    pub version: Option<String>,
    /// Its router id, if `show status` was asked.
    pub router_id: Option<Ipv4Addr>,
    /// Its own clock in its own time zone, if `show status` was asked.
    pub now: Option<DateTime>,
    /// When it began, by the same clock. It counts in time that nobody can set and prints that beside the clock of the
    /// read, so that two moments of one read are apart by what really passed.
    pub booted: Option<DateTime>,
    /// Which of its runs this is, by systemd's word for it.
    pub run: Option<String>,
    /// For how long the node had run when it told its clock.
    pub node_runs: Option<Duration>,
    /// Whether it is still recovering from a graceful restart.
    pub recovering: bool,
    /// Its protocols in its own order.
    pub protocols: Vec<Protocol>,
}

/// One row of `show protocols`, with the details of `show protocols all` where those were asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Protocol {
    /// Name in bird.conf.
    pub name: String,
    /// Kind as printed (`BGP`, `Kernel`).
    pub kind: String,
    /// State column (`up`, `start`, `down`, `wait`, …).
    pub state: String,
    /// Since when, as printed.
    pub since: Since,
    /// The rest of the row.
    pub info: String,
    /// Details of a BGP protocol.
    pub bgp: Option<Bgp>,
}

/// What BIRD tells of one BGP session.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bgp {
    /// `Established`, `Active`, …
    pub state: String,
    /// The neighbour's address.
    pub neighbor: Option<Ipv4Addr>,
    /// The AS that is expected of the neighbour.
    pub neighbor_as: Option<u32>,
    /// Our AS, which only BIRD 2 prints.
    pub local_as: Option<u32>,
    /// Whether both ends are of one AS, where the session's kind is printed.
    pub internal: Option<bool>,
    /// Our address of the session, once it is up.
    pub source: Option<Ipv4Addr>,
    /// The last error; it stays until the next success.
    pub last_error: Option<String>,
    /// Seconds left of the hold time, and the hold time.
    pub hold: Option<(f32, f32)>,
    /// Seconds between keepalives.
    pub keepalive: Option<f32>,
}

/// A moment as BIRD prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// Time of day alone: less than a day ago.
    Time(Time),
    /// Date alone: longer ago than BIRD prints times of day (20 hours).
    Date(Date),
    /// Both.
    Both(DateTime),
    /// Something else.
    Unreadable,
}

/// Why an answer is none of BIRD's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BirdError {
    /// There is no table of protocols in it.
    #[error("no table of protocols in BIRD's answer: {0:?}")]
    NoTable(String),
}

/// Status and all protocols one after the other, without the right to change anything.
///
/// One birdc fed with both commands would be cheaper, but it ends with its input and loses what a slow machine has
/// not answered by then. It is bounded on the node: a stopped BIRD accepts the connection and never answers. For how
/// long the node runs is when a process of this moment began: what containers read elsewhere is made up for them.
pub fn ask() -> Argv {
    const BOTH: &str = "timeout -k 1 4 birdc -r show status && \
        echo \"Node runs $($b cut -d' ' -f22 /proc/self/stat)\" && \
        echo \"Run $(readlink /run/systemd/units/invocation:bird.service)\" && \
        timeout -k 1 4 birdc -r show protocols all";
    Argv::script(BOTH, [""; 0])
}

/// Ends when `sessions` of it stand, after some seconds at the latest.
///
/// BIRD itself is asked only once the kernel has that many connections to or from BGP's port (179, 00B3) that stand (01):
/// programs that an emulated node starts to look are taken from the daemons that it looks for.
pub fn await_sessions(sessions: usize) -> Argv {
    const LOOKS: &str = r#"looks=0
until [ "$($b grep -c ':00B3 \([^ ]* \)\{0,1\}01 ' /proc/net/tcp)" -ge "$1" ] &&
  [ "$(timeout -k 1 4 birdc -r show protocols | $b grep -c Established)" -ge "$1" ]; do
  looks=$((looks + 1))
  [ $looks -lt 25 ] || exit 1
  $b sleep 0.3
done"#;
    Argv::script(LOOKS, [sessions.to_string()])
}

/// All its routes, without the right to change anything.
pub fn ask_routes() -> Argv {
    Argv::new("timeout").args(["-k", "1", "4", "birdc", "-r", "show", "route"])
}

impl Bird {
    /// Read the answer to [`ask`], or to `show protocols` with or without `all`, of BIRD 1.6 or 2.
    pub fn parse(text: &str) -> Result<Self, BirdError> {
        let mut bird = Self {
            version: None,
            router_id: None,
            now: None,
            booted: None,
            run: None,
            node_runs: None,
            recovering: false,
            protocols: Vec::new(),
        };
        let mut in_table = false;
        for line in text.lines().map(without_prompt) {
            if in_table {
                bird.take_row(line);
            } else if is_heading(line) {
                in_table = true;
            } else {
                bird.take_status(line);
            }
        }
        if in_table { Ok(bird) } else { Err(BirdError::NoTable(text.trim().chars().take(200).collect())) }
    }

    /// Its first protocol of a kind (`Direct`, `Static`).
    pub fn of_kind(&self, kind: &str) -> Option<&Protocol> {
        self.protocols.iter().find(|protocol| protocol.kind.eq_ignore_ascii_case(kind))
    }

    /// Its BGP protocols.
    pub fn sessions(&self) -> impl Iterator<Item = (&Protocol, &Bgp)> {
        self.protocols.iter().filter_map(|protocol| Some((protocol, protocol.bgp.as_ref()?)))
    }

    fn take_status(&mut self, line: &str) {
        let line = line.trim();
        if let Some(version) = line.strip_prefix("BIRD ") {
            self.version = version.split_whitespace().next().map(Into::into);
        } else if let Some(id) = line.strip_prefix("Router ID is ") {
            self.router_id = id.parse().ok();
        } else if let Some(now) = line.strip_prefix("Current server time is ") {
            self.now = now.parse().ok();
        } else if let Some(booted) = line.strip_prefix("Last reboot on ") {
            self.booted = booted.parse().ok();
        } else if let Some(ticks) = line.strip_prefix("Node runs ") {
            // Hundredths of a second, whatever the kernel itself counts by.
            self.node_runs = ticks.parse().ok().map(|ticks: u32| Duration::from_secs(ticks.into()) / 100);
        } else if let Some(run) = line.strip_prefix("Run ") {
            self.run = Some(run.trim().to_owned()).filter(|run| !run.is_empty());
        } else if line.starts_with("Graceful restart recovery in progress") {
            self.recovering = true;
        }
    }

    fn take_row(&mut self, line: &str) {
        if line.starts_with([' ', '\t']) {
            if let Some(bgp) = self.protocols.last_mut().and_then(|last| last.bgp.as_mut()) {
                bgp.take_detail(line);
            }
            return;
        }
        let Some((name, rest)) = word(line) else { return };
        let (Some((kind, rest)), true) = (word(rest), name != "bird>") else { return };
        let Some((_table, rest)) = word(rest) else { return };
        let Some((state, rest)) = word(rest) else { return };
        let (since, info) = since(rest);
        let bgp = kind.eq_ignore_ascii_case("bgp").then(|| Bgp::from_info(info));
        let own = |text: &str| text.trim().to_owned();
        self.protocols.push(Protocol {
            name: own(name),
            kind: own(kind),
            state: own(state),
            since,
            info: info.split_whitespace().collect::<Vec<_>>().join(" "),
            bgp,
        });
    }
}

impl Protocol {
    /// The least time for which it has been in its state, by BIRD's clock `now` of the same read.
    ///
    /// BIRD 1.6 counts whole seconds, so that what it prints as 5 s ago may be little more than 4 s ago.
    pub fn age(&self, now: DateTime) -> Option<Duration> {
        self.least(now).map(|least| Duration::from_secs_f64(least.max(0.0)))
    }

    /// When the [`age`](Self::age) that is printed will be `wanted`, if this was read `ago`.
    ///
    /// BIRD 1.6 counts the whole seconds since the node's boot: of the one in which it was read some part had passed.
    pub fn old_enough_in(&self, wanted: Duration, bird: &Bird, ago: Duration) -> Option<Duration> {
        let begun = bird.node_runs.map_or(0, |runs| runs.subsec_millis());
        let begun = if self.since.is_coarse() { f64::from(begun) / 1e3 } else { 0.0 };
        let missing = wanted.as_secs_f64() - self.least(bird.now?)? - begun - ago.as_secs_f64();
        Some(Duration::from_secs_f64(missing.max(0.0)))
    }

    /// The age in seconds; below zero where what is printed as now comes before it.
    fn least(&self, now: DateTime) -> Option<f64> {
        const PRINTED_AS_TIME: i32 = 20 * 3600;
        let seconds = match self.since {
            Since::Unreadable => return None,
            Since::Date(_) => return Some(f64::from(PRINTED_AS_TIME)),
            Since::Both(then) => now.duration_since(then).as_secs_f64(),
            Since::Time(then) => {
                let day = 86_400.0;
                let since = (now.time() - then).total(jiff::Unit::Second).ok()?;
                let since = if since < 0.0 { since + day } else { since };
                // Past what it would print as a time of day: the moment lies a little ahead of the clock.
                let ahead = since > day - 60.0;
                if ahead { since - day } else { since }
            }
        };
        Some(if self.since.is_coarse() { seconds - 1.0 } else { seconds })
    }
}

impl Since {
    /// Whether it is told in whole seconds.
    fn is_coarse(self) -> bool {
        match self {
            Self::Time(time) => is_whole(time),
            Self::Both(both) => is_whole(both.time()),
            Self::Date(_) | Self::Unreadable => false,
        }
    }
}

impl Bgp {
    /// Whether the session is up.
    pub fn established(&self) -> bool {
        self.state.eq_ignore_ascii_case("established")
    }

    fn from_info(info: &str) -> Self {
        let (state, error) = word(info).unwrap_or_default();
        let error = error.trim();
        Self { state: state.into(), last_error: (!error.is_empty()).then(|| error.into()), ..Self::default() }
    }

    fn take_detail(&mut self, line: &str) {
        let Some((key, value)) = line.split_once(':') else { return };
        let value = value.trim();
        match key.trim().to_ascii_lowercase().as_str() {
            "bgp state" => self.state = value.into(),
            "neighbor address" => {
                self.neighbor = value.split(['%', ' ']).next().and_then(|address| address.parse().ok());
            }
            "neighbor as" => self.neighbor_as = value.parse().ok(),
            "local as" => self.local_as = value.parse().ok(),
            "source address" => self.source = value.parse().ok(),
            "session" => self.internal = Some(value.split_whitespace().any(|word| word == "internal")),
            "last error" => self.last_error = Some(value.into()),
            "hold timer" => self.hold = timer(value),
            "keepalive timer" => self.keepalive = timer(value).map(|(_, whole)| whole),
            _ => {}
        }
    }
}

/// `6/12`, or `5.123/12`.
fn timer(value: &str) -> Option<(f32, f32)> {
    let (left, whole) = value.split_once('/')?;
    Some((left.trim().parse().ok()?, whole.trim().parse().ok()?))
}

/// A client that reads its commands from a pipe writes its prompt and terminal codes before what it prints.
fn without_prompt(line: &str) -> &str {
    line.rsplit_once("\u{1b}[K").map_or(line, |(_, rest)| rest).trim_end_matches('\r')
}

fn is_heading(line: &str) -> bool {
    let words: Vec<String> = line.split_whitespace().map(str::to_ascii_lowercase).collect();
    words == ["name", "proto", "table", "state", "since", "info"]
}

/// The first word and what follows it.
fn word(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    if text.is_empty() {
        return None;
    }
    Some(text.split_at(text.find(char::is_whitespace).unwrap_or(text.len())))
}

/// The moment at the beginning of `text` (a time, a date, or both) and what follows it.
fn since(text: &str) -> (Since, &str) {
    let Some((first, rest)) = word(text) else { return (Since::Unreadable, "") };
    if let Ok(time) = first.parse::<Time>() {
        return (Since::Time(time), rest);
    }
    let Ok(date) = first.parse::<Date>() else { return (Since::Unreadable, text) };
    match word(rest).and_then(|(second, rest)| Some((second.parse::<Time>().ok()?, rest))) {
        Some((time, rest)) => (Since::Both(date.to_datetime(time)), rest),
        None => (Since::Date(date), rest),
    }
}

fn is_whole(time: Time) -> bool {
    time.subsec_nanosecond() == 0
}

#[cfg(test)]
mod tests;
