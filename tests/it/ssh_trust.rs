//! Who is let in and who is refused: host keys, user keys, and OpenSSH's own client under our config.

use std::io::Read as _;
use std::net::TcpListener;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use calicolab::cmd::ssh as shell;
use calicolab::lab::name::NodeName;
use calicolab::ssh::{Remote, SshError};

use crate::support::sshd::Sshd;

/// More than any connection here needs on a busy host.
const LIMIT: Duration = Duration::from_secs(30);
/// What sshd logs as soon as a client begins to log in, with whatever method.
const ATTEMPT: &str = "userauth-request";

async fn connect(sshd: &Sshd) -> Result<Remote, SshError> {
    Remote::connect(&sshd.target(), sshd.node(), &sshd.keys().key_file(), LIMIT).await
}

fn nodes(sshd: &Sshd) -> Vec<NodeName> {
    vec![sshd.node().clone()]
}

fn finish(mut command: Command) -> Output {
    command.output().expect("OpenSSH's client is missing: apt install openssh-client")
}

#[tokio::test]
async fn an_attempt_to_log_in_shows_in_the_log() {
    let sshd = Sshd::start_talking();
    connect(&sshd).await.expect("let in");
    sshd.log_with(ATTEMPT);
}

#[tokio::test]
async fn a_stranger_is_named_and_gets_no_credential() {
    for sshd in [Sshd::start_as_stranger(), Sshd::start_as_stranger_of_another_kind()] {
        let error = connect(&sshd).await.expect_err("a stranger");
        assert!(error.is_host_key_mismatch(), "{error:?}");
        let SshError::HostKey { expected, presented, addr, .. } = &error else { unreachable!() };
        assert!(expected.starts_with("SHA256:") && presented.starts_with("SHA256:") && expected != presented);
        assert_eq!(*addr, sshd.target().addr);
        let log = sshd.log_with("Connection closed by");
        assert!(!log.contains(ATTEMPT), "something was sent after the host key:\n{log}");
    }
}

#[tokio::test]
async fn a_user_key_that_nobody_knows_is_refused() {
    let (sshd, other) = (Sshd::start(), Sshd::start());
    let error =
        Remote::connect(&sshd.target(), sshd.node(), &other.keys().key_file(), LIMIT).await.expect_err("unknown");
    assert!(matches!(error, SshError::Auth { .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_that_never_speaks_is_given_up() {
    let sshd = Sshd::start();
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut target = sshd.target();
    target.addr = silent.local_addr().expect("bound");
    let start = Instant::now();
    let limit = Duration::from_millis(700);
    let error = Remote::connect(&target, sshd.node(), &sshd.keys().key_file(), limit).await.expect_err("silent");
    assert!(matches!(error, SshError::TooLong { .. }), "{error:?}");
    assert!(start.elapsed() >= limit && start.elapsed() < LIMIT, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_connection_that_nobody_wants_any_more_is_closed() {
    let sshd = Sshd::start();
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut target = sshd.target();
    target.addr = silent.local_addr().expect("bound");
    let key = sshd.keys().key_file();
    let accepted = std::thread::spawn(move || silent.accept().expect("a client").0);
    let connecting = Remote::connect(&target, sshd.node(), &key, LIMIT);
    assert!(tokio::time::timeout(Duration::from_millis(500), connecting).await.is_err(), "nobody answers");
    let mut rest = Vec::new();
    let start = Instant::now();
    accepted.join().expect("accepted").read_to_end(&mut rest).expect("until the client has closed");
    assert!(start.elapsed() < LIMIT, "before the limit");
}

#[tokio::test]
async fn nobody_there_is_told_at_once() {
    let sshd = Sshd::start();
    let mut target = sshd.target();
    target.addr = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port");
    let error = Remote::connect(&target, sshd.node(), &sshd.keys().key_file(), LIMIT).await.expect_err("nobody");
    assert!(matches!(error, SshError::Connect { .. }), "{error:?}");
}

#[test]
fn opensshs_client_gets_in_strictly_and_reads_words_as_ssh_does() {
    let sshd = Sshd::start();
    let folder = sshd.client_files();
    let words = ["echo".to_string(), "a  b".into(), "$((6*7));".into(), "exit".into(), "9".into()];
    let output = finish(shell::shell(&folder, &nodes(&sshd), "calico-01", &words).expect("a node"));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "a b 42\n", "{output:?}");
    assert_eq!(output.status.code(), Some(9));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn opensshs_client_refuses_a_stranger() {
    let sshd = Sshd::start_as_stranger();
    let folder = sshd.client_files();
    let words = ["true".to_string()];
    let output = finish(shell::shell(&folder, &nodes(&sshd), "calico-01", &words).expect("a node"));
    assert_eq!(output.status.code(), Some(i32::from(shell::OWN_FAILURE)));
    assert!(String::from_utf8_lossy(&output.stderr).contains("Host key verification failed"), "{output:?}");
    let log = sshd.log_with("Connection closed by");
    assert!(!log.contains(ATTEMPT), "{log}");
}

#[test]
fn folders_are_copied_there_and_back() {
    let sshd = Sshd::start();
    let folder = sshd.client_files();
    let at = |name: &str| sshd.folder().join(name).to_str().expect("plain").to_string();
    std::fs::create_dir_all(at("here/deep")).expect("made");
    std::fs::write(at("here/deep/a file"), "content").expect("written");
    for (from, to) in
        [(at("here"), format!("calico-01:{}", at("there"))), (format!("calico-01:{}", at("there")), at("back"))]
    {
        let output = finish(shell::copy(&folder, &nodes(&sshd), &[from], &to).expect("a node"));
        assert!(output.status.success(), "{output:?}");
    }
    assert_eq!(std::fs::read_to_string(at("back/deep/a file")).expect("it came back"), "content");
}
