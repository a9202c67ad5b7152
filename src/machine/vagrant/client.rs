//! The user's own Vagrant, called in the cluster's own directory.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

use super::said::{Said, What, short};
use crate::command::{self, Argv, CommandError, Output};
use crate::machine::ProviderError;

/// The program.
pub const VAGRANT: &str = "vagrant";

/// Longer than anything takes that does not wait for machines.
const LIMIT: Duration = Duration::from_secs(300);

/// As many sentences are kept for an error.
const KEPT: usize = 12;

/// Variables of the user's that would lead Vagrant elsewhere, or to another order of work.
const LEADING: [&str; 9] = [
    "VAGRANT_CWD",
    "VAGRANT_VAGRANTFILE",
    "VAGRANT_DOTFILE_PATH",
    "VAGRANT_DEFAULT_PROVIDER",
    "VAGRANT_PREFERRED_PROVIDERS",
    "VAGRANT_NO_PARALLEL",
    "VAGRANT_LOG",
    "VAGRANT_FORCE_COLOR",
    "LIBVIRT_DEFAULT_URI",
];

/// Where a Vagrant that is called in `folder` keeps what is not one folder's: boxes, and its list of machines.
pub fn kept(folder: &Path) -> Option<PathBuf> {
    let home = std::env::home_dir();
    let Some(named) = std::env::var_os("VAGRANT_HOME").map(PathBuf::from) else {
        return Some(home?.join(".vagrant.d"));
    };
    // As a shell that left it alone.
    match named.strip_prefix("~") {
        Ok(below) => Some(home?.join(below)),
        Err(_) => Some(folder.join(named)),
    }
}

/// Vagrant in one folder, which has a Vagrantfile of ours.
#[derive(Clone, Debug)]
pub struct Client {
    folder: PathBuf,
}

impl Client {
    /// In `folder`.
    pub fn at(folder: &Path) -> Self {
        Self { folder: folder.into() }
    }

    /// A verb that ends soon; what it printed.
    pub async fn verb(&self, words: &[&str], doing: &str) -> Result<String, ProviderError> {
        let argv = self.argv(words);
        let done = command::run(&argv, LIMIT).await.and_then(|output| output.success(&argv));
        done.map_err(|source| ProviderError::Command { doing: doing.into(), source })
    }

    /// A verb that waits for machines; `told` hears each line that is understood. Ends with the future, and with us.
    pub async fn follow(&self, words: &[&str], doing: &str, mut told: impl FnMut(&Said)) -> Result<(), ProviderError> {
        let argv = self.argv(words);
        let failed = |source| ProviderError::Command { doing: doing.into(), source };
        let mut child = tokio::process::Command::new(argv.program())
            .args(&argv.words()[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            // Ctrl-C in our terminal is for us.
            .process_group(0)
            .spawn()
            .map_err(|source| failed(CommandError::Start { argv: argv.clone(), source }))?;
        let (out, err) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
        let mut kept: VecDeque<String> = VecDeque::new();
        let mut failures = Vec::new();
        let read = async {
            let mut lines = BufReader::new(out).lines();
            while let Some(line) = lines.next_line().await? {
                let Some(said) = Said::read(&line) else { continue };
                match &said.what {
                    What::Talk(text) => {
                        kept.push_back(short(text).to_owned());
                        if kept.len() > KEPT {
                            kept.pop_front();
                        }
                    }
                    What::Failure { class, text } => failures.push(format!("{class}: {}", text.trim())),
                    What::Begun | What::Plugin { .. } => {}
                }
                told(&said);
            }
            Ok::<_, std::io::Error>(())
        };
        let mut stderr = Vec::new();
        let mut err = err.take(1 << 20);
        let (read, also) = tokio::join!(read, err.read_to_end(&mut stderr));
        let followed = |source| failed(CommandError::Follow { argv: argv.clone(), source });
        read.and(also.map(drop)).map_err(followed)?;
        let status = child.wait().await.map_err(followed)?;
        let said = if failures.is_empty() { Vec::from(kept) } else { failures };
        let stderr = if said.is_empty() { String::from_utf8_lossy(&stderr).into_owned() } else { said.join("\n") };
        let output = Output { ended: command::ended(status), stdout: String::new(), stderr };
        output.success(&argv).map(drop).map_err(failed)
    }

    /// In the folder, without the variables that lead elsewhere, and not outliving us: what a killed run began must
    /// not go on beside the next one.
    fn argv(&self, words: &[&str]) -> Argv {
        LEADING
            .iter()
            .fold(Argv::new("env"), |argv, name| argv.args(["-u", name]))
            .arg(format!("--chdir={}", self.folder.display()))
            .args(["LC_ALL=C.UTF-8", "VAGRANT_CHECKPOINT_DISABLE=1", "VAGRANT_NO_COLOR=1"])
            .args(["setpriv", "--pdeathsig", "KILL", VAGRANT])
            .args(words.iter().copied())
    }
}
