//! Bad servers, mirrors and blobs: the right bytes, or a clear error and no file.

use reqwest::header::HeaderValue;

use super::*;
use crate::artifact::http::Manner;
use crate::artifact::support::{Fixture, content};

#[tokio::test]
async fn bad_servers_give_clear_errors_and_leave_no_file() {
    let at = Fixture::new().await;
    let here = |text: &str| text.replace(&at.base, "http://x.example");
    let mut told = Vec::new();
    for name in
        ["wrong", "other-length", "short", "endless", "breaks", "absent", "forbidden", "broken", "busy-long", "circle"]
    {
        let error = at.refused(name).await;
        told.push(format!("{name}: {} [{}]", here(&error.to_string()), error.id()));
    }
    insta::assert_snapshot!(told.join("\n"), @r"
    wrong: file 1: http://x.example/wrong has sha256:d0d759a972fc81ce3cc39814f5cefcf5d7937e82fc89e73b850bb04d7be1313d, wanted is sha256:be6bcbb04cad95acd9e95c010ea2acf2e3a24e442455c51fb21ab6eeb0779180 [digest.mismatch]
    other-length: http://x.example/other-length has 14 bytes, pinned are 1200000 [digest.length]
    short: http://x.example/short ends after 1000 of 1200000 bytes [download.failed]
    endless: http://x.example/endless sends more than the 1200000 bytes that are expected [download.failed]
    breaks: http://x.example/breaks could not be read [download.failed]
    absent: http://x.example/absent has no such file (status 404) [download.failed]
    forbidden: http://x.example/forbidden does not let us have the file (status 403) [download.failed]
    broken: http://x.example/broken is in trouble (status 500) [download.failed]
    busy-long: http://x.example/busy-long limits how often it may be asked (status 429), and again only after 3600 s [download.rate-limited]
    circle: http://x.example/circle leads on and on, at last to http://x.example/circle [download.failed]
    ");
    assert!(at.refused("busy-long").await.remedy().expect("a remedy").contains("calicolab mirror serve"));
}

#[tokio::test]
async fn a_silent_server_is_given_up() {
    let at = Fixture::new().await;
    let (stall, pause) = (Duration::from_millis(200), Duration::from_millis(5));
    let store = at.store(Reach::Online).with_manner(Manner { stall, pause, attempts: 2, rest: pause });
    let error = store.ensure(&at.pin(&["stalls"]), &at.events).await.expect_err("silent");
    assert!(matches!(error, FetchError::Stalled { .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_asks_for_rest_gets_it_and_the_user_is_told() {
    let mut at = Fixture::new().await;
    let began = Instant::now();
    at.get(&["busy-once"]).await.expect("the second time");
    assert!(began.elapsed() >= Duration::from_secs(1));
    let told = at.told();
    assert!(told.contains("again in 1 s, as the server asks"), "{told}");
}

#[tokio::test]
async fn an_answer_to_another_range_begins_afresh() {
    for name in ["other-range", "no-range-at-all"] {
        let at = Fixture::new().await;
        let part = at.store(Reach::Online).part(&at.pin(&[]).digest).expect("a place");
        std::fs::write(&part, &content()[..1000]).expect("left behind");
        let file = at.get(&[name]).await.expect(name);
        assert_eq!(std::fs::read(file.path()).expect("there"), content());
        assert_eq!(at.seen().iter().map(|one| one.from).collect::<Vec<_>>(), [Some(1000), None], "{name}");
    }
}

#[tokio::test]
async fn an_end_without_a_length_is_no_end_before_the_pins() {
    let at = Fixture::new().await;
    at.get(&["no-length"]).await.expect("gone on with");
    assert_eq!(at.seen().iter().map(|one| one.from).collect::<Vec<_>>(), [None, Some(1000)]);
}

#[tokio::test]
async fn a_mirror_that_lies_is_refused_by_digest_and_the_next_address_is_used() {
    for lie in ["wrong", "wrong-half", "other-length", "endless"] {
        let mut at = Fixture::new().await;
        let mirror = Fixture::new().await;
        let pin = at.pin(&["good"]);
        let bare = at.base.trim_start_matches("http://");
        // Whatever comes after the prefix is part of the lying name's path or replaces it.
        let store = at.mirrored(&[&format!("{bare}/good={}/{lie}", mirror.base)]);
        let file = store.ensure(&pin, &at.events).await.expect(lie);
        assert_eq!(std::fs::read(file.path()).expect("there"), content());
        assert!(mirror.asked() >= 1 && at.asked() >= 1, "{lie}");
        let told = at.told();
        let address = format!("{}/{lie}", mirror.base);
        assert!(told.contains("warning: file 1: ") && told.contains(&address), "{lie}: {told}");
        if lie == "wrong" {
            assert!(told.contains(&format!("wanted is {}", pin.digest)) && told.contains("has sha256:"), "{told}");
        }
    }
}

#[tokio::test]
async fn a_store_that_serves_by_digest_is_asked_first_for_every_kind_of_source() {
    let at = Fixture::new().await;
    let bytes = content();
    let served = bytes.clone();
    let path = format!("/sha256/{}", files::sha256_of(&bytes).hex());
    let router = axum::Router::new().route(&path, axum::routing::get(async || served));
    let mirror = crate::artifact::support::serve(router).await;
    let mut pins = [at.pin(&["good"]), at.pin(&[])];
    pins[1].source = crate::lab::pin::Source::Apt { package: "none".into(), suite: "none".into() };
    for pin in pins {
        let store = at.mirrored(&[&format!("*={mirror}")]);
        store.ensure(&pin, &at.events).await.expect("from the mirror");
        std::fs::remove_file(at.cache().file(&pin.digest)).expect("removed");
    }
    assert_eq!(at.asked(), 0);
}

#[tokio::test]
async fn what_a_mirror_lacks_is_no_warning() {
    let mut at = Fixture::new().await;
    let store = at.mirrored(&[&format!("*={}", at.base)]);
    store.ensure(&at.pin(&["good"]), &at.events).await.expect("from the upstream");
    assert_eq!(at.asked(), 2);
    assert!(!at.told().contains("warning"));
}

#[tokio::test]
async fn a_mirror_that_is_not_there_is_asked_once_and_not_waited_for() {
    let mut at = Fixture::new().await;
    let closed = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port").local_addr().expect("bound");
    let (stall, pause) = (Duration::from_secs(60), Duration::from_secs(60));
    let store = at.mirrored(&[&format!("*=http://{closed}")]);
    let store = store.with_manner(Manner { stall, pause, attempts: 3, rest: pause });
    for _ in 0..3 {
        let file = store.ensure(&at.pin(&["good"]), &at.events).await.expect("from the upstream");
        std::fs::remove_file(file.path()).expect("removed");
    }
    assert_eq!(at.told().matches("warning: file 1: http://127.0.0.1").count(), 1);
}

#[tokio::test]
async fn a_blob_is_had_with_a_header_that_no_other_host_sees() {
    let (at, other) = (Fixture::new().await, Fixture::new().await);
    let bytes = content();
    let url = format!("{}/elsewhere?{}/good", at.base, other.base);
    let header = HeaderValue::from_static("Bearer token");
    let order = Order {
        label: "layer".into(),
        digest: files::sha256_of(&bytes),
        bytes: None,
        most: UNSIZED_CAP,
        addresses: vec![Address::upstream(url).with_authorization(header)],
    };
    let blob = at.store(Reach::Online).blob(&order, &at.events).await.expect("fetched");
    assert_eq!((blob.bytes, std::fs::read(&blob.path).expect("there")), (bytes.len() as u64, bytes));
    assert_eq!(at.seen()[0].authorization.as_deref(), Some("Bearer token"));
    assert_eq!(other.seen()[0].authorization, None);

    assert_eq!(at.store(Reach::Offline).blob(&order, &at.events).await.expect("there"), blob);
    let absent = Order { digest: files::sha256_of(b"absent"), ..order };
    let error = at.store(Reach::Offline).blob(&absent, &at.events).await.expect_err("offline");
    assert!(matches!(error, FetchError::Offline { names } if names == ["layer"]));
    assert_eq!((at.asked(), other.asked()), (1, 1));
}
