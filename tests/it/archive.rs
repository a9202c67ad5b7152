//! The host's real Debian archive: discovered, asked and downloaded from.

use calicolab::artifact::apt::{Age, Archive, Part};
use calicolab::artifact::store::{Cache, Reach, Store};
use calicolab::cmd::lock::{self, When};
use calicolab::event::Events;
use calicolab::lab::pin::{Arch, Pin, Source};

#[tokio::test]
async fn tmp_lock() {
    let (events, mut told) = Events::channel();
    let cache = Cache::at("/tmp/artifact-cache");
    let archive = Archive::of_host();
    println!("{:?}", archive.places().await.unwrap());
    let names: Vec<String> = ["bird", "etcd-server", "etcd-client", "runc", "containernetworking-plugins", "busybox-static", "dnsmasq-base"].iter().map(|s| s.to_string()).collect();
    let t = std::time::Instant::now();
    let r = archive.records(&cache, "bookworm", &names, Age::Hours, &events).await.unwrap();
    println!("{:?}", t.elapsed());
    for r in &r { println!("{r:?}"); }
    let pins: Vec<Pin> = names.iter().map(|n| { let r = r.iter().find(|r| &r.package == n).unwrap(); Pin { name: n.clone(), version: r.version.clone(), arch: Arch::Amd64, source: Source::Apt { package: n.clone(), suite: "bookworm".into() }, digest: r.digest, bytes: Some(r.bytes), found: "signed index of Debian bookworm, read on 2026-11-21".into() } }).collect();
    let l = calicolab::lab::pin::Lock { schema: 1, pins: pins.clone(), missing: vec![] };
    println!("{}", lock::text(&l));
    let store = Store::new(cache, "primer".parse().unwrap(), Reach::Online, archive);
    let t = std::time::Instant::now();
    for v in store.ensure_all(&pins, &events).await.unwrap() { println!("{v:?}"); }
    println!("{:?}", t.elapsed());
    let t = std::time::Instant::now();
    store.ensure_all(&pins, &events).await.unwrap();
    println!("{:?}", t.elapsed());
    drop(events); drop(store);
    while let Ok(e) = told.try_recv() { println!("{:?}", e.event); }
}
