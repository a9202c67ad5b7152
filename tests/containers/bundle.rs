//! A bundle made on a broken lab, without the secrets that were planted there, explained in an empty home.

use crate::lab::{Lab, Test};

/// The tests.
pub const ALL: &[Test] = &[("carried_away", carried_away)];

const PLANTED: &str = "hunter2-hunter2";

fn carried_away() {
    let lab = Lab::new();
    lab.ok(&["up", "--nodes", "2"]);
    // Where people leave them: in a configuration and in a journal.
    lab.on(
        "calico-02",
        &format!("sed -i \"s/^template bgp bgp_template {{/&\\n  password \\\"{PLANTED}\\\";/\" /etc/bird/bird.conf"),
    );
    let line = format!("[Service]\\nExecStartPre=/bin/echo token: {PLANTED}\\n");
    let drop_in = "/run/systemd/system/bird.service.d";
    lab.on(
        "calico-02",
        &format!("mkdir -p {drop_in}; printf \"{line}\" >{drop_in}/50-note.conf; systemctl daemon-reload"),
    );
    lab.on("calico-02", "systemctl restart bird; systemctl stop bird");
    assert!(lab.on("calico-02", "journalctl -u bird -o cat").contains(PLANTED), "it is in the journal");
    let elsewhere = tempfile::tempdir().expect("a folder");
    let file = elsewhere.path().join("lab.tar").display().to_string();
    lab.ok(&["bundle", "-f", &file]);
    let bytes = std::fs::read(&file).expect("it was written");
    let text = String::from_utf8_lossy(&bytes);
    assert!(!text.contains(PLANTED), "a planted secret is in the bundle");
    assert!(!text.contains("PRIVATE KEY"), "a key is in the bundle");
    let folder = lab.home().join("clusters/primer");
    for key in ["ssh/key", "pki/ca.key", "pki/etcd.key", "pki/calico-02.key"] {
        let key = std::fs::read_to_string(folder.join(key)).expect("the cluster has it");
        let body = key.lines().find(|line| !line.starts_with("---")).expect("a line");
        assert!(!text.contains(body), "a line of a key is in the bundle");
    }
    for wanted in
        ["README.md", "plan.json", "proof.json", "events.jsonl", "nodes/calico-02/bird-conf.txt", "console.log"]
    {
        assert!(text.contains(wanted), "{wanted} is not in the bundle");
    }
    let page = elsewhere.path().join("lab.html").display().to_string();
    lab.ok(&["report", "-f", &page]);
    let page = std::fs::read_to_string(page).expect("it was written");
    assert!(page.contains("bird-stopped") && !page.contains("<script"), "the page names the cause");
    // For CI: the page as before, and the checks as XML, although the verb fails.
    let papers = ["junit.xml", "own.html"].map(|name| elsewhere.path().join(name).display().to_string());
    lab.ends(&["verify", "--timeout", "1", "--junit", &papers[0], "--html", &papers[1]], 21);
    let [xml, page] = papers.map(|paper| std::fs::read_to_string(paper).expect("it was written"));
    assert!(xml.contains(r#"<testcase name="session.calico-01.calico-02" classname="session""#), "{xml}");
    assert!(xml.contains("<failure message=") && page.contains(r#"class="fail""#), "{xml}");
    let here = lab.json(&["explain", "-o", "json"], 0);
    lab.down();

    let away = Lab::new();
    let there = away.json(&["explain", "--offline", "--bundle", &file, "-o", "json"], 0);
    assert_eq!(there["first"]["id"], "bird-stopped", "{there:#}");
    assert_eq!(there["first"]["says"], here["first"]["says"]);
    away.ends(&["explain", "--bundle", "/nowhere.tar"], 12);
    away.ends(&["explain", "--bundle", &std::env::current_exe().expect("we run").display().to_string()], 12);
}
