//! Where logins to registries lie: in the files that docker and podman keep.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential_from_reader};
use oci_client::secrets::RegistryAuth;

use crate::artifact::files::blocking;

/// The files that may hold logins, in the order they are looked into.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logins {
    files: Vec<PathBuf>,
}

/// What is said to one registry.
#[derive(Clone, Debug)]
pub(super) struct Login {
    /// User and password, or nothing.
    pub auth: RegistryAuth,
    /// Which login that is, for people; never the login itself.
    pub told: String,
}

impl Logins {
    /// The usual places: `$REGISTRY_AUTH_FILE`, docker's `config.json` (`$DOCKER_CONFIG`, else `~/.docker`), podman's
    /// `auth.json` (`$XDG_RUNTIME_DIR/containers`, else `~/.config/containers`).
    pub fn from_env() -> Self {
        let folder = |name| std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
        let home = |below: &str| folder("HOME").map(|home| home.join(below));
        let files = [
            folder("REGISTRY_AUTH_FILE"),
            folder("DOCKER_CONFIG").or_else(|| home(".docker")).map(|folder| folder.join("config.json")),
            folder("XDG_RUNTIME_DIR").map(|folder| folder.join("containers/auth.json")),
            folder("XDG_CONFIG_HOME").or_else(|| home(".config")).map(|folder| folder.join("containers/auth.json")),
        ];
        Self { files: files.into_iter().flatten().collect() }
    }

    /// These files, each written as docker writes its `config.json`.
    pub fn at(files: impl IntoIterator<Item = PathBuf>) -> Self {
        Self { files: files.into_iter().collect() }
    }

    /// The login for a registry, asking the credential helper where a file names one; anonymous when there is none.
    pub(super) async fn of(&self, registry: &str) -> Login {
        let files = self.files.clone();
        let server = server(registry).to_owned();
        blocking(move || find(&files, &server)).await
    }
}

/// What docker calls a registry in its files.
fn server(registry: &str) -> &str {
    match registry {
        "docker.io" | "index.docker.io" => "https://index.docker.io/v1/",
        other => other,
    }
}

fn find(files: &[PathBuf], server: &str) -> Login {
    let mut told = "without a login".to_owned();
    for path in files {
        let Ok(file) = File::open(path) else { continue };
        let unusable = match get_credential_from_reader(BufReader::new(file), server) {
            Ok(DockerCredential::UsernamePassword(user, password)) => {
                let told = format!("with the login in {}", path.display());
                return Login { auth: RegistryAuth::Basic(user, password), told };
            }
            // Such a token is traded for another by a way that only docker itself goes.
            Ok(DockerCredential::IdentityToken(_)) => "is an identity token, which cannot be used here",
            Err(CredentialRetrievalError::NoCredentialConfigured) => continue,
            // What a helper printed is not repeated: it may be the password.
            Err(CredentialRetrievalError::HelperFailure { .. }) => "was not given by its credential helper",
            Err(_) => "cannot be read",
        };
        told = format!("without a login, since that in {} {unusable}", path.display());
    }
    Login { auth: RegistryAuth::Anonymous, told }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(folder: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    }

    #[tokio::test]
    async fn the_first_file_that_knows_the_registry_counts() {
        let folder = tempfile::tempdir().expect("a folder");
        // user:secret and other:word
        let docker = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"dXNlcjpzZWNyZXQ="}}}"#;
        let podman = r#"{"auths":{"registry.example:5000":{"auth":"b3RoZXI6d29yZA=="}}}"#;
        let files = [
            folder.path().join("absent"),
            written(&folder, "config.json", docker),
            written(&folder, "auth.json", podman),
        ];
        let logins = Logins::at(files);
        let basic = |user: &str, word: &str| RegistryAuth::Basic(user.into(), word.into());
        assert_eq!(logins.of("docker.io").await.auth, basic("user", "secret"));
        let other = logins.of("registry.example:5000").await;
        assert_eq!(other.auth, basic("other", "word"));
        assert!(other.told.ends_with("auth.json") && !format!("{other:?}").contains("word"), "{other:?}");
        assert_eq!(logins.of("x.example").await.auth, RegistryAuth::Anonymous);
    }

    #[tokio::test]
    async fn a_login_that_cannot_be_used_is_told_of_without_its_words() {
        let folder = tempfile::tempdir().expect("a folder");
        for (text, why) in [
            (r#"{"credsStore":"calicolab-has-none"}"#, "cannot be read"),
            (r#"{"auths":{"x.example":{"identitytoken":"secret"}}}"#, "identity token"),
            (r#"{"auths":{"x.example":{"auth":"secret"}}}"#, "cannot be read"),
            ("no json", "cannot be read"),
        ] {
            let login = Logins::at([written(&folder, "config.json", text)]).of("x.example").await;
            assert_eq!(login.auth, RegistryAuth::Anonymous, "{text}");
            assert!(login.told.contains(why) && !login.told.contains("secret"), "{}", login.told);
        }
    }
}
