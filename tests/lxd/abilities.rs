//! What the provider can do beside the six verbs: hold containers still, bring them back, find what was left.

use std::future::Future;
use std::path::PathBuf;

use calicolab::artifact::apt::Archive;
use calicolab::artifact::cache::Cache;
use calicolab::artifact::image::{self, Ready};
use calicolab::artifact::store::{Reach, Store};
use calicolab::cluster::home::Home;
use calicolab::event::Events;
use calicolab::lab::builtin::Library;
use calicolab::lab::name::NodeName;
use calicolab::lab::plan::Plan;
use calicolab::machine::ability::Slot;
use calicolab::machine::incus::Incus;
use calicolab::machine::{Image, Order, Place, Provider as _, Seed, Tree};
use serde_json::Value;

use crate::daemon::{lxc, names, ok};
use crate::lab::{Lab, Test};
use crate::story::base;

/// The tests.
pub const ALL: &[Test] = &[
    ("held_still", held_still),
    ("kept_and_brought_back", kept_and_brought_back),
    ("a_point_of_disks", a_point_of_disks),
    ("what_was_left", what_was_left),
];

fn wait<T>(asked: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime").block_on(asked)
}

/// The lab's cluster `primer` as its provider knows it.
fn place(lab: &Lab) -> Place {
    let home = Home::at(lab.home(), lab.temp(), "test").expect("the home is there");
    let cluster = "primer".parse().expect("a name");
    Place {
        label: home.label(&cluster),
        folder: home.folder(&cluster),
        sockets: home.sockets(&cluster).expect("made"),
        events: Events::channel().0,
        cluster,
    }
}

/// What the daemon says of each of the lab's instances.
fn states() -> Vec<String> {
    let all: Vec<Value> = serde_json::from_str(&ok(&["query", "/1.0/instances?recursion=1"])).expect("JSON");
    all.iter().map(|one| one["status"].as_str().expect("text").to_owned()).collect()
}

fn held_still() {
    let lab = Lab::new();
    lab.ok(&["up", "--nodes", "2"]);
    let place = place(&lab);
    let pause = Incus.pauses().expect("containers can be held");
    for _ in 0..2 {
        wait(pause.pause(&place)).expect("held");
        assert_eq!(states(), ["Frozen", "Frozen"]);
    }
    // To the lab they run; what is asked of them is not answered.
    assert_eq!(lab.json(&["ls", "-o", "json"], 0)[0]["nodes"]["running"], 2);
    for _ in 0..2 {
        wait(pause.resume(&place)).expect("let go");
        assert_eq!(states(), ["Running", "Running"]);
    }
    lab.ok(&["verify"]);
    // One cannot be held: the other is not held either.
    ok(&["stop", "--force", &format!("{}-calico-02", base(&lab))]);
    let error = wait(pause.pause(&place)).expect_err("one is off").to_string();
    assert!(error.contains("calico-02"), "{error}");
    assert!(!states().contains(&"Frozen".to_owned()), "{:?}", states());
    // What is held goes down as well.
    lab.ok(&["up", "--nodes", "2"]);
    wait(pause.pause(&place)).expect("held");
    lab.down();
}

/// The image as `up` has it.
async fn image() -> Image {
    let (events, _told) = Events::channel();
    let library = Library::open(None).expect("the binary's own");
    let wanted = library.images().expect("right").get("debian-12").cloned().expect("listed");
    let (cache, lab) = (Cache::from_env().expect("a cache"), "primer".parse().expect("a name"));
    let store = Store::new(cache, lab, Reach::Offline, Archive::of_host());
    let ready = image::ensure_any(&store, &Archive::of_host(), &library, &wanted, &events).await.expect("`up` made it");
    let Ready::Built(built) = ready else { panic!("it is built here") };
    let tree = built.tree().await.expect("its tree");
    let tree = Tree { path: tree.path().into(), sha256: tree.digest().hex() };
    Image { disk: PathBuf::new(), format: "raw", boot: None, tree: Some(tree), user: wanted.user }
}

/// The same by its verbs: every process begins anew, and the lab is proven again.
fn a_point_of_disks() {
    let lab = Lab::new();
    lab.ok(&["up", "--nodes", "2"]);
    let made = lab.ends(&["fault", "add", "bird-stopped", "--node", "calico-02"], 0);
    assert!(made.contains("before-bird-stopped") && made.contains("memory is not kept"), "{made}");
    let refused = lab.ends(&["snapshot", "restore", "before-bird-stopped", "--as", "twin"], 30);
    assert!(refused.contains("error[point.bound]"), "{refused}");
    lab.ok(&["snapshot", "restore", "before-bird-stopped", "--replace"]);
    lab.ok(&["verify"]);
    let gone = lab.ends(&["down", "--keep-points"], 0);
    assert!(gone.contains("`before-bird-stopped` went with the machines"), "{gone}");
    assert!(!lab.home().join("kept").exists());
    lab.down();
}

fn kept_and_brought_back() {
    let lab = Lab::new();
    lab.ok(&["up", "--nodes", "2"]);
    let place = place(&lab);
    let save = Incus.saves().expect("containers can be kept");
    let text = std::fs::read(place.folder.join("plan.json")).expect("a plan");
    let plan: Plan = serde_json::from_slice(&text).expect("a plan");
    let nodes: Vec<NodeName> = plan.nodes.names().cloned().collect();
    let slot = Slot { id: "one", folder: lab.home(), shared: lab.home() };
    assert!(wait(save.fit()).contains_key("LXD"));

    lab.on("calico-01", "echo before >/root/mark");
    let saved = wait(save.save(&place, &nodes, &slot)).expect("kept");
    assert!(saved.id == "one" && saved.lost.iter().any(|lost| lost.contains("memory is not kept")), "{saved:?}");
    assert_eq!(states(), ["Running", "Running"]);
    lab.ok(&["verify"]);
    lab.on("calico-01", "echo after >/root/mark");

    let home = Home::at(lab.home(), lab.temp(), "test").expect("the home is there");
    let leased = home.read(&place.cluster).expect("remembered").leased.expect("leased");
    let seed = Seed {
        meta_data: String::new(),
        user_data: String::new(),
        network_config: None,
        host_key: String::new(),
        payload: None,
    };
    let (image, seeds) = (wait(image()), plan.nodes.map(|_, _| seed.clone()));
    let order = Order { place: &place, plan: &plan, leased: &leased, image: &image, seeds: &seeds };
    let mut told = Vec::new();
    let machines = wait(save.restore(&order, &saved, &slot, &mut |node, _| told.push(node.clone())));
    assert_eq!((machines.expect("brought back").len(), told.len()), (2, 2));
    lab.until("calico-01", "grep -q before /root/mark");
    lab.ok(&["up", "--nodes", "2"]);

    let snapshots = || ok(&["query", &format!("/1.0/instances/{}-calico-01/snapshots", base(&lab))]);
    wait(save.tidy(&place, lab.home(), std::slice::from_ref(&saved))).expect("nothing to do");
    assert!(snapshots().contains("calicolab-one"), "{}", snapshots());
    // Others' snapshots are none of ours.
    ok(&["snapshot", &format!("{}-calico-01", base(&lab)), "mine"]);
    wait(save.tidy(&place, lab.home(), &[])).expect("forgotten");
    assert!(!snapshots().contains("calicolab-one") && snapshots().contains("mine"), "{}", snapshots());
    let error = wait(save.restore(&order, &saved, &slot, &mut |_, _| {})).expect_err("it was forgotten");
    assert!(error.to_string().contains("calico-01"), "{error}");
    lab.down();
}

fn what_was_left() {
    let lab = Lab::new();
    let left = |words: &[&str]| {
        let all = lab.json(&[&["gc", "-o", "json"], words].concat(), 0);
        let things = all["things"].as_array().expect("a list").iter();
        let mut kinds: Vec<String> = things.map(|thing| thing["kind"].as_str().expect("text").to_owned()).collect();
        kinds.retain(|kind| kind != "cache");
        kinds.sort();
        kinds
    };
    ok(&["network", "create", "clmine", "ipv4.address=none", "ipv6.address=none"]);
    lab.ok(&["up", "--nodes", "2"]);
    assert_eq!(left(&[]), Vec::<String>::new(), "all belongs to a cluster, and the image to its nodes");
    // Somebody throws away what calicolab knows of it.
    std::fs::remove_dir_all(lab.home().join("clusters")).expect("it is there");
    let found = left(&[]);
    let of = |kind: &str| found.iter().filter(|own| *own == kind).count();
    assert_eq!((of("machine"), of("network"), of("profile")), (2, 2, 1), "{found:?}");
    assert!(of("lease") > 0, "{found:?}");
    let shown = lab.ok(&["gc"]);
    assert!(shown.contains("calicolab down primer") && shown.contains("of memory"), "{shown}");
    assert_eq!(names("instances").len(), 2);
    left(&["--yes"]);
    assert_eq!((names("instances").len(), names("profiles").len()), (0, 0));
    assert_eq!(names("networks"), ["clmine"]);
    // Nothing is made from the image any more.
    assert_eq!(left(&[]), ["image"]);
    left(&["--yes"]);
    assert_eq!(ok(&["image", "list", "--format", "csv"]), "");
    assert_eq!(left(&[]), Vec::<String>::new());
    assert!(lxc(&["network", "delete", "clmine"]).status.success());
    lab.nothing_left();
}
