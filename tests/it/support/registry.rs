//! A real registry of container images as a process of the test, and small images to push into it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use calicolab::lab::pin::Digest;
use serde_json::{Value, json};
use sha2::Digest as _;

use super::waiting::eventually;

/// Where programs that only tests need are unpacked.
pub const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/programs/root");

/// The user and password that a closed registry lets in, and the line of htpasswd for them.
pub const LOGIN: (&str, &str) = ("user", "secret");
const HTPASSWD: &str = "user:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

/// SHA-256 of bytes.
pub fn sha256(bytes: &[u8]) -> Digest {
    Digest::Sha256(sha2::Sha256::digest(bytes).into())
}

/// Debian's registry on a port of 127.0.0.1, killed and reaped when dropped.
pub struct Registry {
    child: Child,
    host: String,
    closed: bool,
    requests: Arc<Mutex<Vec<String>>>,
    _folder: tempfile::TempDir,
}

impl Registry {
    /// One that lets everybody in.
    pub async fn open() -> Self {
        Self::start(false).await
    }

    /// One that lets [`LOGIN`] in.
    pub async fn closed() -> Self {
        Self::start(true).await
    }

    async fn start(closed: bool) -> Self {
        let program = Path::new(PROGRAMS).join("usr/bin/docker-registry");
        assert!(program.exists(), "{} is missing: run scripts/test-programs.sh", program.display());
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = json!({
            "version": 0.1,
            "storage": { "filesystem": { "rootdirectory": folder.path().join("storage") } },
            "http": { "addr": "127.0.0.1:0" },
        });
        if closed {
            let users = folder.path().join("htpasswd");
            std::fs::write(&users, HTPASSWD).expect("written");
            config["auth"] = json!({ "htpasswd": { "realm": "tests", "path": users } });
        }
        // JSON is YAML.
        std::fs::write(folder.path().join("config.yml"), config.to_string()).expect("written");
        let mut child = Command::new(program)
            .arg("serve")
            .arg(folder.path().join("config.yml"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the registry starts");
        let requests = lines(child.stdout.take().expect("piped"));
        let log = lines(child.stderr.take().expect("piped"));
        let host = eventually("the registry listens", || {
            let ended = child.try_wait().expect("asked");
            assert!(ended.is_none(), "the registry ended: {:?}", log.lock().expect("not poisoned"));
            let log = log.lock().expect("not poisoned");
            let line = log.iter().find_map(|line| line.split_once("listening on "))?;
            line.1.split('"').next().map(str::to_owned)
        });
        let host = host.await;
        Self { child, host, closed, requests, _folder: folder }
    }

    /// Host and port, as they stand in the name of an image.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// How often a file was sent (HTTP status 200 or 206), as the registry's own log says.
    pub async fn sent(&self, digest: &Digest) -> usize {
        self.asked(digest).await.iter().filter(|line| line.contains("HTTP/1.1\" 20")).count()
    }

    /// The log's lines of requests for a file.
    pub async fn asked(&self, digest: &Digest) -> Vec<String> {
        self.log_is_read().await;
        let requests = self.requests.lock().expect("not poisoned");
        requests.iter().filter(|line| line.contains("\"GET ") && line.contains(&digest.to_string())).cloned().collect()
    }

    /// Wait until what was asked so far is in the log, and the log with us.
    async fn log_is_read(&self) {
        let marks = || {
            let requests = self.requests.lock().expect("not poisoned");
            requests.iter().filter(|line| line.contains("/v2/?mark ")).count()
        };
        let before = marks();
        reqwest::get(format!("http://{}/v2/?mark", self.host)).await.expect("the registry answers");
        eventually("the registry's log is read", || (marks() > before).then_some(())).await;
    }

    /// Push an image as `repository`.
    pub async fn push(&self, repository: &str, image: &Image) {
        let blobs = image.layers.iter().chain([&image.config]);
        for blob in blobs {
            self.push_blob(repository, blob).await;
        }
        self.push_manifest(repository, &image.manifest).await;
    }

    async fn push_blob(&self, repository: &str, bytes: &[u8]) {
        let begun = self.send(reqwest::Method::POST, &self.url(repository, "blobs/uploads/"), None, &[]).await;
        let location = begun.headers()["location"].to_str().expect("text").to_owned();
        let url = format!("{location}&digest={}", sha256(bytes));
        self.send(reqwest::Method::PUT, &url, Some("application/octet-stream"), bytes).await;
    }

    /// Push a manifest or a list whose parts are there, under its digest.
    pub async fn push_manifest(&self, repository: &str, manifest: &[u8]) {
        let value: Value = serde_json::from_slice(manifest).expect("JSON");
        let kind = value["mediaType"].as_str().expect("it says what it is");
        let url = self.url(repository, &format!("manifests/{}", sha256(manifest)));
        self.send(reqwest::Method::PUT, &url, Some(kind), manifest).await;
    }

    fn url(&self, repository: &str, rest: &str) -> String {
        format!("http://{}/v2/{repository}/{rest}", self.host)
    }

    async fn send(&self, method: reqwest::Method, url: &str, kind: Option<&str>, body: &[u8]) -> reqwest::Response {
        let mut request = reqwest::Client::new().request(method, url).body(body.to_vec());
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        if self.closed {
            request = request.basic_auth(LOGIN.0, Some(LOGIN.1));
        }
        let response = request.send().await.expect("the registry answers");
        assert!(response.status().is_success(), "{url}: {}", response.text().await.expect("text"));
        response
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Keep reading, so that the registry never waits for us.
fn lines(stream: impl std::io::Read + Send + 'static) -> Arc<Mutex<Vec<String>>> {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let writer = Arc::clone(&kept);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            writer.lock().expect("not poisoned").push(line);
        }
    });
    kept
}

/// An image made here.
#[derive(Clone, Debug)]
pub struct Image {
    /// Packed, from the lowest up.
    pub layers: Vec<Vec<u8>>,
    /// The configuration.
    pub config: Vec<u8>,
    /// The manifest.
    pub manifest: Vec<u8>,
}

/// The families of media types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Docker's, schema 2.
    Docker,
    /// OCI's.
    Oci,
}

impl Family {
    fn types(self) -> [&'static str; 4] {
        match self {
            Self::Docker => [
                "application/vnd.docker.distribution.manifest.v2+json",
                "application/vnd.docker.container.image.v1+json",
                "application/vnd.docker.image.rootfs.diff.tar.gzip",
                "application/vnd.docker.distribution.manifest.list.v2+json",
            ],
            Self::Oci => [
                "application/vnd.oci.image.manifest.v1+json",
                "application/vnd.oci.image.config.v1+json",
                "application/vnd.oci.image.layer.v1.tar+gzip",
                "application/vnd.oci.image.index.v1+json",
            ],
        }
    }
}

impl Image {
    /// An image whose layers have one file each: its name, its bytes.
    pub fn of(family: Family, arch: &str, files: &[(&str, &[u8])]) -> Self {
        let [manifest_type, config_type, layer_type, _] = family.types();
        let tars: Vec<Vec<u8>> = files.iter().map(|(name, bytes)| tar_of(name, bytes)).collect();
        let layers: Vec<Vec<u8>> = tars.iter().map(|tar| gzip(tar)).collect();
        let unpacked: Vec<String> = tars.iter().map(|tar| sha256(tar).to_string()).collect();
        let config = json!({
            "architecture": arch, "os": "linux", "config": { "Cmd": ["/bin/true"] },
            "rootfs": { "type": "layers", "diff_ids": unpacked },
            "history": vec![json!({ "created_by": "the tests" }); files.len()],
        })
        .to_string()
        .into_bytes();
        let file = |kind: &str, bytes: &[u8]| json!({ "mediaType": kind, "digest": sha256(bytes).to_string(), "size": bytes.len() });
        let named: Vec<Value> = layers.iter().map(|layer| file(layer_type, layer)).collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": manifest_type, "config": file(config_type, &config), "layers": named,
        });
        Self { layers, config, manifest: manifest.to_string().into_bytes() }
    }

    /// The digest of its manifest.
    pub fn digest(&self) -> Digest {
        sha256(&self.manifest)
    }
}

/// A list of images, each with its processor.
pub fn list(family: Family, images: &[(&str, &Image)]) -> Vec<u8> {
    let [manifest_type, .., list_type] = family.types();
    let images: Vec<Value> = images
        .iter()
        .map(|(arch, image)| {
            json!({ "mediaType": manifest_type, "digest": image.digest().to_string(), "size": image.manifest.len(),
                    "platform": { "os": "linux", "architecture": arch } })
        })
        .collect();
    json!({ "schemaVersion": 2, "mediaType": list_type, "manifests": images }).to_string().into_bytes()
}

fn tar_of(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o755);
    tar.append_data(&mut header, name, bytes).expect("packed");
    tar.into_inner().expect("packed")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = Command::new("gzip")
        .args(["-n", "-c"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("gzip is needed (sudo apt-get install gzip)");
    let mut input = gzip.stdin.take().expect("piped");
    let bytes = bytes.to_vec();
    // Its output is read meanwhile: both pipes are shorter than a layer.
    let writer = std::thread::spawn(move || input.write_all(&bytes));
    let output = gzip.wait_with_output().expect("gzip ends");
    writer.join().expect("no panic").expect("written");
    assert!(output.status.success());
    output.stdout
}
