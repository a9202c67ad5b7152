//! A machine that was to become a template and never comes to wait for its seed: the lab boots without it.

use calicolab::cluster::home::Home;
use calicolab::event::Event;

use crate::lab::{Lab, Test, eventually};
use crate::story::processes_with;

pub const ALL: &[Test] = &[(
    "a_template_that_hangs_costs_a_part_of_the_time_and_not_the_lab",
    a_template_that_hangs_costs_a_part_of_the_time_and_not_the_lab,
)];

fn a_template_that_hangs_costs_a_part_of_the_time_and_not_the_lab() {
    let lab = Lab::new();
    let home = Home::at(lab.home(), lab.temp(), "test").expect("a path");
    // Its files lie in the cache that all tests share.
    let own = format!("guest={}/template ", home.label(&"primer".parse().expect("a name")));
    // Of a size that no other lab has, so that there is no template yet.
    let mut run = lab.follow(&["up", "--nodes", "2", "--set", "nodes.memory=523MiB", "--boot-timeout", "60"]);
    let (pid, _) = eventually("its machine runs", || processes_with(&own).pop());
    assert!(std::process::Command::new("kill").args(["-STOP", &pid]).status().expect("kill starts").success());
    let mut reason = String::new();
    let told = run.sees(|event| match event {
        Event::Warning { text } if text.starts_with("machines boot cold, for there is no template") => {
            reason.clone_from(text);
            true
        }
        _ => false,
    });
    // It had not said that it waits, or had not even answered.
    assert!(told && reason.contains(" after "), "{reason}");
    run.machine("calico-02");
    eventually("it is ended", || processes_with(&own).is_empty().then_some(()));
    run.kill();
    lab.down();
}
