//! The lab's OS image, built for real as whoever runs the tests.

use std::path::Path;

use calicolab::artifact::apt::Archive;
use calicolab::artifact::image::{self, Recipe, RecipeFile};
use calicolab::artifact::store::{Cache, Reach};
use calicolab::event::Events;

fn files(folder: &Path, below: &Path, all: &mut Vec<RecipeFile>) {
    for entry in std::fs::read_dir(folder).expect("the recipe's folder") {
        let path = entry.expect("listed").path();
        if path.is_dir() {
            files(&path, below, all);
        } else {
            let name = path.strip_prefix(below).expect("below").display().to_string();
            all.push(RecipeFile { path: name, content: std::fs::read(&path).expect("read"), executable: false });
        }
    }
}

fn recipe() -> Recipe {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("labs/images/debian-12");
    let mut all = Vec::new();
    files(&folder, &folder, &mut all);
    Recipe { name: "debian-12".into(), suite: "bookworm".into(), disk_mib: 3072, files: all }
}

#[tokio::test]
async fn the_labs_image_is_built_once_and_hashed_on_use() {
    let (events, mut told) = Events::channel();
    let printer = tokio::spawn(async move { while let Some(e) = told.recv().await { println!("{:?} {:?}", e.at, e.event); } });
    let cache = Cache::from_env().expect("a cache");
    let archive = Archive::of_host();
    let t = std::time::Instant::now();
    let first = image::ensure(&cache, &archive, &recipe(), Reach::Online, &events).await.unwrap_or_else(|e| { let mut s = e.to_string(); let mut c: Option<&dyn std::error::Error> = std::error::Error::source(&e); while let Some(x) = c { s += &format!("\n  because: {x}"); c = x.source(); } panic!("{s}") });
    println!("{:?} {first:?}", t.elapsed());
    let t = std::time::Instant::now();
    image::ensure(&cache, &archive, &recipe(), Reach::Offline, &events).await.expect("there");
    println!("{:?}", t.elapsed());
    drop(events);
    printer.await.unwrap();
}
