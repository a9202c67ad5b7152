//! Words that stand in no file, or only where they belong.

use super::{File, none, tree};

/// Each line of the product, comments and tests left out, in which `wrong` sees something.
fn lines_of_product(wrong: impl Fn(&File, &str) -> bool) -> Vec<String> {
    let files: Vec<File> = tree().into_iter().filter(|file| file.is_rust() && !file.of_tests()).collect();
    let lines = files.iter().flat_map(|file| file.code().map(move |(at, line)| (file, at, line)));
    lines
        .filter(|(file, _, line)| wrong(file, line))
        .map(|(file, at, line)| format!("{}:{at}: {}", file.path, line.trim()))
        .collect()
}

#[test]
fn nothing_prints_but_the_report() {
    let printing = ["print!(", "println!(", "eprint!(", "eprintln!(", "dbg!(", "io::stdout()", "io::stderr()"];
    let found = lines_of_product(|file, line| {
        // The readers of events are the way to talk.
        !file.path.starts_with("src/report/") && printing.iter().any(|word| line.contains(word))
    });
    // Cargo is spoken to by printing.
    let found: Vec<String> = found.into_iter().filter(|line| !line.starts_with("build.rs:")).collect();
    none("what happens is told as an event; only src/report prints", &found);
}

#[test]
fn nothing_is_unwrapped_and_no_lint_is_silenced_for_good() {
    none(
        "an error is handled, or `expect` says why there is none",
        &lines_of_product(|_, line| line.contains(".unwrap()")),
    );
    let silenced =
        lines_of_product(|_, line| line.contains(concat!("#[", "allow")) || line.contains(concat!("#![", "allow")));
    none("`expect` with a reason goes when the reason goes", &silenced);
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Lines of any file that have one of these words.
fn lines_with(words: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for file in tree() {
        for (at, line) in file.text.lines().enumerate() {
            if words.iter().any(|word| line.contains(word.as_str())) {
                found.push(format!("{}:{}: {}", file.path, at + 1, line.trim()));
            }
        }
    }
    found
}

#[test]
fn nothing_is_left_for_later() {
    let words = [concat!("TO", "DO"), concat!("FIX", "ME")].map(str::to_owned);
    none("what is to be done is done, or stands in docs/limits.md", &lines_with(&words));
}

#[test]
fn no_mirror_is_named() {
    // The archive is the host's own choice: its configuration says where it is.
    let hosts = [("deb", "debian.org"), ("security", "debian.org"), ("snapshot", "debian.org"), ("ftp", "debian.org")]
        .into_iter()
        .chain([("archive", "ubuntu.com"), ("static", "crates.io"), ("index", "crates.io")])
        .chain([("registry", "npmjs.org"), ("files", "pythonhosted.org"), ("proxy", "golang.org")])
        .map(|(host, domain)| format!("{host}.{domain}"));
    none("no host of a package registry is named", &lines_with(&hosts.collect::<Vec<_>>()));
}

#[test]
fn upstreams_are_named_in_labs_alone() {
    // A lab says where its bytes come from, and no code knows.
    let hosts = [("registry", "k8s.io"), ("dl", "k8s.io"), ("k8s", "gcr.io"), ("registry-1", "docker.io")]
        .into_iter()
        .chain([("download", "docker.com"), ("quay", "io/"), ("raw", "githubusercontent.com")])
        .chain([("cloud", "debian.org"), ("cloud-images", "ubuntu.com"), ("release", "flatcar-linux.net")]);
    let hosts: Vec<String> = hosts.map(|(host, domain)| format!("{host}.{domain}")).collect();
    let may = |line: &String| {
        let path = line.split(':').next().unwrap_or_default();
        path == "labs/images.yaml" || path.starts_with("labs/") && ["lab.yaml", "lock.yaml"].contains(&name_of(path))
    };
    let found: Vec<String> = lines_with(&hosts).into_iter().filter(|line| !may(line)).collect();
    none("hosts of upstreams stand in lab.yaml, lock.yaml and images.yaml", &found);
}

#[test]
fn no_path_of_the_builders_machine_is_named() {
    let folders = ["/wo|rk/", "/ro|ot/.", "/home/|user", "/Us|ers/"].map(|folder| folder.replace('|', ""));
    let own = format!("{}/", env!("CARGO_MANIFEST_DIR"));
    none("no path of the machine it was built on is named", &lines_with(&[&folders[..], &[own]].concat()));
}
