//! A real web server, nginx, as a process of the test: plain or with a certificate, killed and reaped at the end.

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use super::waiting::eventually;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/programs/root");

/// A server of the files in its folder `www`.
pub struct Web {
    folder: tempfile::TempDir,
    port: u16,
    server: Option<Child>,
}

impl Web {
    /// Serve plainly. `settings` are lines for nginx's `server` block.
    pub async fn plain(settings: &str) -> Self {
        Self::start("", settings).await
    }

    /// Serve with a certificate for 127.0.0.1 that an authority made here has signed: its file is [`Self::authority`].
    pub async fn with_certificate() -> Self {
        Self::start("ssl", "ssl_certificate cert.pem; ssl_certificate_key key.pem;").await
    }

    async fn start(listen: &str, settings: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = free.local_addr().expect("bound").port();
        drop(free);
        let mut web = Self { folder, port, server: None };
        std::fs::create_dir(web.path("www")).expect("made");
        web.certificates();
        let user = if rustix::process::getuid().is_root() { "user root;" } else { "" };
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|what| format!("{what}_temp_path tmp-{what};"))
            .concat();
        let config = format!(
            "{user} daemon off; master_process off; pid pid; error_log error.log;\n\
             events {{}}\n\
             http {{ {temporary} sendfile on;\n\
             log_format range '$status $http_range'; access_log access.log range;\n\
             server {{ listen 127.0.0.1:{port} {listen}; root {}; {settings} }} }}\n",
            web.path("www").display()
        );
        // Paths of settings are looked for beside the configuration, those of logs below the prefix: both are here.
        std::fs::write(web.path("nginx.conf"), config).expect("written");
        web.begin().await;
        web
    }

    fn certificates(&self) {
        use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
        let (key, own) = (KeyPair::generate().expect("a key"), KeyPair::generate().expect("a key"));
        let mut authority = CertificateParams::new(Vec::new()).expect("parameters");
        authority.distinguished_name.push(rcgen::DnType::CommonName, "An authority of the tests");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let signed = authority.self_signed(&key).expect("signed");
        let server = CertificateParams::new(["127.0.0.1".to_owned()]).expect("parameters");
        let cert = server.signed_by(&own, &Issuer::from_params(&authority, &key)).expect("signed");
        for (name, text) in [("ca.pem", signed.pem()), ("cert.pem", cert.pem()), ("key.pem", own.serialize_pem())] {
            std::fs::write(self.path(name), text).expect("written");
        }
    }

    /// Start the server, again if it was ended.
    pub async fn begin(&mut self) {
        let program = Path::new(ROOT).join("usr/sbin/nginx");
        assert!(program.exists(), "{} is missing: run scripts/test-programs.sh", program.display());
        let mut command = Command::new(program);
        command.arg("-p").arg(self.folder.path()).arg("-c").arg(self.path("nginx.conf"));
        command.env("LD_LIBRARY_PATH", format!("{ROOT}/usr/lib/x86_64-linux-gnu"));
        command.stderr(std::fs::File::create(self.path("stderr")).expect("made"));
        let mut server = command.spawn().expect("nginx starts");
        let port = self.port;
        eventually("nginx listens", || {
            let ended = server.try_wait().expect("asked");
            assert!(ended.is_none(), "nginx ended: {}", self.text("stderr"));
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()
        })
        .await;
        self.server = Some(server);
    }

    /// End the server in the middle of whatever it does.
    pub fn end(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    /// The certificate of the authority behind the server's own.
    pub fn authority(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// Put a file of these bytes; its path on the server.
    pub fn file(&self, name: &str, bytes: &[u8]) {
        let mut file = std::fs::File::create(self.path("www").join(name)).expect("made");
        file.write_all(bytes).expect("written");
    }

    /// Where it serves.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Status and range of each request that was answered.
    pub fn requests(&self) -> Vec<String> {
        self.text("access.log").lines().map(str::to_owned).collect()
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.end();
    }
}
