//! Rounds of questions: each distinct probe once, one script a node; again until all pass, one cannot, or time is up.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::ask::{Askers, Raised};
use super::check::Layer;
use super::driver::{self, Question, When};
use super::{Answer, Check, Clock, Finding, PROOF_SCHEMA, Probe, Proof, Reading, Readings, Scene, Verdict};
use super::{plan_digest, raise, session};
use crate::event::{Event, Events, Step};
use crate::lab::name::NodeName;
use crate::lab::plan::Plan;
use crate::node::{bird, container};

/// Which questions are asked first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// All at once: for a cluster that stands.
    AtOnce,
    /// Only after its sessions until these are up, then all the others while the sessions age: for nodes whose
    /// daemons have just been started, which every other question would hold up. A third of the patience at most.
    SessionsFirst,
}

impl Pace {
    /// The longest that one round may take at one node. Emulated machines that have just been started on a busy host
    /// are slow, not dead.
    fn round_limit(self) -> Duration {
        Duration::from_secs(match self {
            Self::AtOnce => 35,
            Self::SessionsFirst => 90,
        })
    }
}

/// What has to wait no longer than this is asked at the end of a round instead of in one of its own.
const LATER: Duration = Duration::from_secs(7);
/// Pauses between rounds in which nothing new was learned grow from the first to the second.
const PAUSE: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(1)];

/// What is tried step by step is given so much more than the patience, where nothing else is missing.
const TRIED: Duration = Duration::from_secs(120);

/// Take the proof: ask and judge `checks` until all hold, one cannot come to hold, or `patience` ends. A story that is
/// under way by then, and is all that is missing, is heard to its end, unless one round is all that is wanted.
///
/// The proof's containers are made in the first round and removed at the end, also when the future is dropped.
pub async fn prove(
    plan: &Plan,
    checks: &[Check],
    askers: &Askers,
    pace: Pace,
    patience: Duration,
    events: &Events,
) -> Proof {
    let mut taking = Taking::new(plan, checks, askers, pace.round_limit(), events);
    if pace == Pace::SessionsFirst && taking.tracks.iter().any(|track| track.check.layer() == Layer::Session) {
        taking.sessions_until = Some(taking.began + patience / 3);
    }
    let mut raised = Raised::none(&taking.nonce, askers);
    let deadline = taking.began + patience;
    loop {
        let probes = taking.due();
        raised.needed |= probes.keys().any(|probe| *probe == raise(plan, &taking.nonce, &probe.node));
        taking.round(probes).await;
        if taking.all_pass() {
            // Sessions that passed some rounds ago must still be up now that everything else holds.
            let stale = taking.stale_sessions();
            if stale.is_empty() {
                break;
            }
            taking.round(stale).await;
            if taking.all_pass() {
                break;
            }
        }
        // What has never been asked is asked however short the patience is: it would be called failing unheard.
        let more = if !patience.is_zero() && taking.is_under_way() { TRIED } else { Duration::ZERO };
        let in_time = |wake: &Instant| *wake <= deadline + more && Instant::now() < deadline + more;
        let Some(wake) = taking.next_look().filter(|wake| in_time(wake) || taking.is_unheard()) else {
            break;
        };
        tokio::time::sleep_until(wake).await; // until then no open check can have another answer
    }
    raised.remove().await;
    taking.proof()
}

/// How one check stands while the proof is taken.
struct Track {
    check: Check,
    verdict: Verdict,
    /// Since the proof's beginning.
    took: Duration,
    rounds: u32,
    /// When to look again.
    due: Instant,
}

/// A proof being taken.
struct Taking<'a> {
    plan: &'a Plan,
    askers: &'a Askers,
    round_limit: Duration,
    events: &'a Events,
    nonce: String,
    readings: Readings,
    /// In which round each probe was last asked.
    asked: BTreeMap<Probe, u32>,
    tracks: Vec<Track>,
    rounds: u32,
    pause: Duration,
    began: Instant,
    started: Timestamp,
    /// Until then only sessions are asked after; `None` once they are up, or if that is not wanted.
    sessions_until: Option<Instant>,
}

impl<'a> Taking<'a> {
    fn new(plan: &'a Plan, checks: &[Check], askers: &'a Askers, round_limit: Duration, events: &'a Events) -> Self {
        let (began, started) = (Instant::now(), Timestamp::now());
        let track = |check: &Check| Track {
            check: check.clone(),
            verdict: Verdict::not_yet("has not been asked yet"),
            took: Duration::ZERO,
            rounds: 0,
            due: began,
        };
        // Unique on these nodes: the second, and within it nanoseconds and our process.
        let fine = u64::from(started.subsec_nanosecond().unsigned_abs()) ^ (u64::from(std::process::id()) << 32);
        Self {
            plan,
            askers,
            round_limit,
            events,
            nonce: format!("{}-{fine:x}", started.as_second()),
            readings: Readings::default(),
            asked: BTreeMap::new(),
            tracks: checks.iter().map(track).collect(),
            rounds: 0,
            pause: PAUSE[0],
            began,
            started,
            sessions_until: None,
        }
    }

    fn scene(&self) -> Scene<'_> {
        Scene { plan: self.plan, nonce: &self.nonce, readings: &self.readings }
    }

    fn all_pass(&self) -> bool {
        self.tracks.iter().all(|track| track.verdict.passed())
    }

    /// What must be asked now for the checks that do not hold and whose time has come, and how much later in the round.
    fn due(&self) -> BTreeMap<Probe, When> {
        let now = Instant::now();
        let (due, waiting): (Vec<&Track>, Vec<&Track>) = self.pending().partition(|track| track.due <= now);
        let mut probes = self.probes(due.into_iter());
        if self.sessions_until.is_some() {
            if self.rounds == 0 {
                probes.extend(self.probes(self.tracks.iter()).into_iter().filter(|(probe, _)| self.raises(probe)));
            }
            for (probe, when) in &mut probes {
                // A round for each look would cost more than many looks on the node. Nor is the processor taken from the
                // daemons for a container before they have found each other; but a kubelet's takes its time, and most of
                // that is the kubelet's own.
                if *probe == session::bird(&probe.node) || self.raises(probe) && self.plan.kubernetes.is_none() {
                    *when = When::Once(bird::await_sessions(self.plan.nodes[&probe.node].peers.len()));
                }
            }
            return probes;
        }
        let soon = |track: &&Track| track.check.layer() == Layer::Session && track.due <= now + LATER;
        let last = !probes.is_empty() && waiting.iter().all(soon);
        if last && !probes.keys().any(|probe| self.raises(probe)) {
            // Perhaps the last round: what only has to age is asked at its end, and sessions that hold are asked again.
            for track in self.sessions() {
                let after = track.due.saturating_duration_since(now);
                let after = if track.verdict.passed() { Duration::ZERO } else { after };
                for probe in track.check.probes(&self.scene()) {
                    let known = probes.entry(probe).or_insert(When::AT_ONCE);
                    if matches!(known, When::After(earlier) if *earlier < after) {
                        *known = When::After(after);
                    }
                }
            }
        }
        probes
    }

    /// What these checks ask, except for containers that are there.
    fn probes<'t>(&self, tracks: impl Iterator<Item = &'t Track>) -> BTreeMap<Probe, When> {
        let scene = self.scene();
        let probes = tracks.flat_map(|track| track.check.probes(&scene));
        let wanted = probes.filter(|probe| !self.raises(probe) || scene.pod(&probe.node).is_err());
        wanted.map(|probe| (probe, When::AT_ONCE)).collect()
    }

    fn raises(&self, probe: &Probe) -> bool {
        *probe == raise(self.plan, &self.nonce, &probe.node)
    }

    fn sessions(&self) -> impl Iterator<Item = &Track> {
        self.tracks.iter().filter(|track| track.check.layer() == Layer::Session)
    }

    /// The probes of sessions that were not asked in the last round.
    fn stale_sessions(&self) -> BTreeMap<Probe, When> {
        let scene = self.scene();
        let probes = self.sessions().flat_map(|track| track.check.probes(&scene));
        let stale = probes.filter(|probe| self.asked.get(probe) != Some(&self.rounds));
        stale.map(|probe| (probe, When::AT_ONCE)).collect()
    }

    /// Whether a check waits for questions that were never put.
    fn is_unheard(&self) -> bool {
        self.pending().any(|track| self.has_unread(&track.check))
    }

    /// Whether all that is missing is the end of a story that goes well so far: called failing, it would be slandered.
    fn is_under_way(&self) -> bool {
        let goes_on = |track: &Track| {
            track.check == Check::Policy && matches!(track.verdict, Verdict::NotYet { again_in: Some(_), .. })
        };
        self.tracks.iter().filter(|track| !track.verdict.passed()).all(goes_on)
    }

    /// When to ask again; `None` if it has no use, since one check cannot come to hold and each had its chance.
    fn next_look(&self) -> Option<Instant> {
        if self.is_unheard() {
            return Some(Instant::now());
        }
        if self.pending().any(|track| matches!(track.verdict, Verdict::Never { .. })) {
            return None;
        }
        self.pending().map(|track| track.due).min()
    }

    /// What does not hold and may be asked now.
    fn pending(&self) -> impl Iterator<Item = &Track> {
        let only_sessions = self.sessions_until.is_some();
        let wanted = move |track: &&Track| !only_sessions || track.check.layer() == Layer::Session;
        self.tracks.iter().filter(|track| !track.verdict.passed()).filter(wanted)
    }

    /// Whether the sessions have come so far that only time is missing, or cannot come so far, or were given enough.
    fn sessions_settled(&self, now: Instant) -> bool {
        let settled = |track: &Track| match &track.verdict {
            Verdict::Pass { .. } | Verdict::Never { .. } => true,
            Verdict::NotYet { again_in, .. } => again_in.is_some(),
            Verdict::Unknown { .. } => false,
        };
        self.sessions_until.is_none_or(|until| now >= until) || self.sessions().all(settled)
    }

    fn has_unread(&self, check: &Check) -> bool {
        check.probes(&self.scene()).iter().any(|probe| !self.readings.by_probe.contains_key(probe))
    }

    /// Ask all nodes at once, then judge everything.
    async fn round(&mut self, probes: BTreeMap<Probe, When>) {
        self.rounds += 1;
        let mut by_node: BTreeMap<NodeName, Vec<Question>> = BTreeMap::new();
        for (probe, when) in probes {
            self.asked.insert(probe.clone(), self.rounds);
            by_node.entry(probe.node.clone()).or_default().push((probe, when));
        }
        let pod = container::probe_name(&self.nonce);
        let asking = by_node.into_iter().map(|(node, questions)| {
            let (asker, pod, limit) = (&self.askers[&node], &pod, self.round_limit);
            async move {
                let sent = Timestamp::now();
                let output = asker.ask(&driver::script(&questions, pod), limit).await;
                let answered = Timestamp::now();
                let report = output.and_then(|output| driver::parse(&questions, &output));
                let probes: Vec<Probe> = questions.into_iter().map(|(probe, _)| probe).collect();
                (node, probes, report, sent, answered)
            }
        });
        for (node, probes, report, sent, answered) in futures::future::join_all(asking).await {
            match report {
                Ok(report) => {
                    let clock = Clock { asked: sent, first: report.first, last: report.last, answered };
                    self.readings.clocks.insert(node, clock);
                    for (probe, (output, at)) in probes.into_iter().zip(report.answers) {
                        self.take(probe, Answer::Said(output), at);
                    }
                }
                Err(why) => {
                    // What it said before tells nothing of a node that cannot be asked now.
                    let known = self.readings.by_probe.keys().filter(|probe| probe.node == node).cloned();
                    for probe in known.chain(probes).collect::<BTreeSet<_>>() {
                        self.take(probe, Answer::Unasked(why.clone()), answered);
                    }
                    self.readings.clocks.remove(&node);
                }
            }
        }
        self.judge();
    }

    fn take(&mut self, probe: Probe, answer: Answer, at: Timestamp) {
        self.readings.by_probe.insert(probe.clone(), Reading { probe, answer, at });
    }

    fn judge(&mut self) {
        let verdicts: Vec<Verdict> = self.tracks.iter().map(|track| track.check.judge(&self.scene())).collect();
        let asked: Vec<bool> = self.tracks.iter().map(|track| self.asked_now(&track.check)).collect();
        let learned = self.tracks.iter().zip(&verdicts).any(|(track, new)| new.passed() && !track.verdict.passed());
        self.pause = if learned { PAUSE[0] } else { (self.pause * 2).min(PAUSE[1]) };
        let (now, took) = (Instant::now(), self.began.elapsed());
        for ((track, verdict), asked) in self.tracks.iter_mut().zip(verdicts).zip(asked) {
            let mark = verdict.mark();
            if mark != track.verdict.mark() || track.rounds == 0 {
                track.took = took;
            }
            if self.sessions_until.is_some() && track.check.layer() != Layer::Session {
                continue;
            }
            if mark != track.verdict.mark() || (!verdict.passed() && verdict.text() != track.verdict.text()) {
                let check = track.check.id().to_string();
                self.events.tell(Event::Check { check, mark, text: verdict.text().into() });
            }
            track.rounds += u32::from(asked);
            if asked || mark != track.verdict.mark() {
                track.due = now
                    + match &verdict {
                        Verdict::NotYet { again_in: Some(wait), .. } => *wait,
                        _ => self.pause,
                    };
            }
            track.verdict = verdict;
        }
        if self.sessions_settled(now) {
            self.sessions_until = None;
        }
        let passed = self.tracks.iter().filter(|track| track.verdict.passed()).count();
        let waiting = self.tracks.iter().find(|track| !track.verdict.passed());
        let doing = waiting.map_or_else(String::new, |track| format!("{}: {}", track.check.id(), track.verdict.text()));
        let done = Some((passed as u64, self.tracks.len() as u64));
        self.events.tell(Event::Progress { step: Step::Prove, subject: "checks".into(), doing, done });
        self.wake_those_with_new_questions(now);
    }

    fn asked_now(&self, check: &Check) -> bool {
        check.probes(&self.scene()).iter().any(|probe| self.asked.get(probe) == Some(&self.rounds))
    }

    /// A container that has just come up lets questions be asked that could not be asked before.
    fn wake_those_with_new_questions(&mut self, now: Instant) {
        let new: Vec<bool> = self.tracks.iter().map(|track| self.has_unread(&track.check)).collect();
        for (track, new) in self.tracks.iter_mut().zip(new) {
            if new {
                track.due = now;
            }
        }
    }

    fn proof(self) -> Proof {
        let places: BTreeMap<&Probe, usize> = self.readings.by_probe.keys().zip(0..).collect();
        let scene = self.scene();
        let findings = self.tracks.iter().map(|track| Finding {
            id: track.check.id(),
            check: track.check.clone(),
            verdict: track.verdict.clone(),
            evidence: track.check.probes(&scene).iter().filter_map(|probe| places.get(probe).copied()).collect(),
            took: track.took,
            rounds: track.rounds,
        });
        Proof {
            schema: PROOF_SCHEMA,
            cluster: self.plan.cluster.clone(),
            plan: plan_digest(self.plan),
            without_stability: self.plan.proof.stability_s == 0,
            nonce: self.nonce.clone(),
            started: self.started,
            took: self.began.elapsed(),
            rounds: self.rounds,
            findings: findings.collect(),
            readings: self.readings.by_probe.values().cloned().collect(),
            clocks: self.readings.clocks.clone(),
            flapped: Vec::new(),
        }
    }
}
