//! `gc`: what was left under labels of ours is shown, and goes only when that is asked for.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use calicolab::cluster::home::Home;
use calicolab::cluster::state::{ClusterState, Phase, Wish};
use calicolab::failure::Exit;
use calicolab::machine::Kind;
use serde_json::Value;

use super::User;
use crate::support::plans::primer;

/// A paused QEMU of this guest name, ended with the test.
struct Guest(Child);

impl Guest {
    fn named(name: &str) -> Self {
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-name", &format!("guest={name}"), "-S", "-nodefaults", "-display", "none", "-m", "16"]);
        Self(qemu.stdin(Stdio::null()).spawn().expect("apt-get install qemu-system-x86"))
    }

    fn runs(&mut self) -> bool {
        self.0.try_wait().expect("our child").is_none()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn home(user: &User) -> Home {
    Home::at(Path::new(&user.path("home")), user.path(""), "up").expect("a home")
}

/// What was left, of those kinds that this user's own home and cache alone can have.
fn left(user: &User, words: &[&str]) -> Vec<(String, String)> {
    let mut command = user.command(words);
    let said = super::Said::by(command.env("TMPDIR", user.path("")), 0);
    let all: Value = serde_json::from_str(&said.out).expect("JSON");
    let text = |thing: &Value, key: &str| thing[key].as_str().expect("text").to_owned();
    let things = all["things"].as_array().expect("a list").iter();
    let own = things.filter(|thing| !["lease", "image"].contains(&thing["kind"].as_str().expect("text")));
    own.map(|thing| (text(thing, "kind"), text(thing, "name"))).collect()
}

#[test]
fn machines_without_a_cluster_go_and_those_of_others_stay() {
    let user = User::new();
    let home = home(&user);
    let label = |cluster: &str| home.label(&cluster.parse().expect("a name"));
    let mut lost = Guest::named(&format!("{}/calico-01", label("lost")));
    let mut begun = Guest::named(&format!("{}/calico-01", label("begun")));
    let mut foreign = Guest::named("calicolab/00000000/lost/calico-01");
    drop(home.create(ClusterState::begun(&primer("begun", 3), Kind::Qemu, Wish::default(), None)).expect("begun"));
    let machine = ("machine".to_owned(), format!("lost/calico-01, pid {}", lost.0.id()));
    // Looking twice removes nothing.
    for _ in 0..2 {
        assert_eq!(left(&user, &["gc", "-o", "json"]), std::slice::from_ref(&machine));
    }
    let shown = super::Said::by(user.command(&["gc"]).env("TMPDIR", user.path("")), 0).out;
    assert!(shown.contains("calicolab down lost") && shown.contains("--yes removes these"), "{shown}");
    assert!(lost.runs());
    assert_eq!(left(&user, &["gc", "--yes", "-o", "json"]), [machine]);
    assert_eq!(left(&user, &["gc", "-o", "json"]), []);
    assert!(!lost.runs() && begun.runs() && foreign.runs());
    assert!(home.read(&"begun".parse().expect("a name")).is_ok());
}

#[test]
fn folders_of_clusters_that_are_over_go() {
    let user = User::new();
    let home = home(&user);
    let state = |name: &str| ClusterState::begun(&primer(name, 3), Kind::Qemu, Wish::default(), None);
    let mut cut_short = home.create(state("cut-short")).expect("begun");
    cut_short.record(|state| state.phase = Phase::Destroying).expect("written");
    drop(cut_short);
    std::fs::create_dir(home.folder(&"never-begun".parse().expect("a name"))).expect("made");
    drop(home.create(state("stands")).expect("begun"));
    let held = home.create(state("held")).expect("begun");
    // A later version's, about which nothing is known.
    let later = home.folder(&"later".parse().expect("a name"));
    std::fs::create_dir(&later).expect("made");
    std::fs::write(later.join("state.json"), r#"{"schema": 7}"#).expect("written");

    let over = ["cut-short", "never-begun"].map(|name| ("cluster".to_owned(), name.to_owned()));
    assert_eq!(left(&user, &["gc", "--yes", "-o", "json"]), over);
    drop(held);
    assert_eq!(left(&user, &["gc", "-o", "json"]), []);
    let names: Vec<String> = home.list().expect("listed").iter().map(|found| found.name.to_string()).collect();
    assert_eq!(names, ["held", "later", "stands"]);
}

#[test]
fn what_a_killed_run_left_in_the_cache_goes_and_files_stay() {
    let user = User::new();
    let folder = Path::new(&user.path("cache")).join("calicolab/sha256/00");
    std::fs::create_dir_all(&folder).expect("made");
    let hex = "00".repeat(32);
    std::fs::write(folder.join(format!("{hex}.part")), "half").expect("written");
    let whole = folder.join(&hex);
    std::fs::write(&whole, "whole").expect("written");
    let found = left(&user, &["gc", "-o", "json"]);
    assert!(
        found.len() == 1
            && found[0].0 == "cache"
            && std::path::Path::new(&found[0].1).extension().is_some_and(|end| end == "part"),
        "{found:?}"
    );
    left(&user, &["gc", "--yes", "-o", "json"]);
    assert_eq!(left(&user, &["gc", "-o", "json"]), []);
    assert!(whole.exists());
    user.ends(&["gc", "--unknown"], Exit::Usage);
}
