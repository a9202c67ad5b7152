//! A machine that was to become a template and never comes to wait for its seed: the lab boots without it.

use calicolab::event::Event;

use crate::lab::{Lab, Test, eventually};
use crate::story::processes;

pub const ALL: &[Test] = &[(
    "a_template_that_hangs_costs_a_part_of_the_time_and_not_the_lab",
    a_template_that_hangs_costs_a_part_of_the_time_and_not_the_lab,
)];

fn a_template_that_hangs_costs_a_part_of_the_time_and_not_the_lab() {
    let lab = Lab::new();
    // Of a size that no other lab has, so that there is no template yet. A quarter of its time is long enough for a
    // kernel to speak on any host, and short enough to wait for.
    let mut run = lab.follow(&["up", "--nodes", "2", "--set", "nodes.memory=523MiB", "--boot-timeout", "240"]);
    assert!(
        run.sees(|event| matches!(event, Event::Progress { doing, .. } if doing.starts_with("booting one machine")))
    );
    let (pid, words) = eventually("its machine runs", || processes(lab.home()).pop());
    let console = words.split([' ', '=', ',']).find(|word| word.ends_with("console.log")).expect("it has a console");
    let speaks = || std::fs::metadata(console).is_ok_and(|file| file.len() > 0).then_some(());
    eventually("its kernel speaks", speaks);
    assert!(std::process::Command::new("kill").args(["-STOP", &pid]).status().expect("kill starts").success());
    let mut reason = String::new();
    let told = run.sees(|event| match event {
        Event::Warning { text } if text.starts_with("machines boot cold, for there is no template") => {
            reason.clone_from(text);
            true
        }
        _ => false,
    });
    assert!(told && reason.contains("not after "), "{reason}");
    run.machine("calico-02");
    eventually("it is ended", || processes(lab.home()).iter().all(|(of, _)| *of != pid).then_some(()));
    run.kill();
    lab.down();
}
