//! What Vagrant says with `--machine-readable`, as values; pure.

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The machine it is about; none if it is about all.
    pub machine: Option<String>,
    /// What.
    pub what: What,
}

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Vagrant begins to bring the machine up.
    Begun,
    /// A sentence for people.
    Talk(String),
    /// Why Vagrant ends.
    Failure {
        /// Its name for this kind of failure.
        class: String,
        /// The sentence for people.
        text: String,
    },
    /// A plugin that is installed, with its version.
    Plugin {
        /// Its name.
        name: String,
        /// Its version.
        version: String,
    },
}

impl Said {
    /// Read a line; `None` for what nobody here asks about.
    pub fn read(line: &str) -> Option<Self> {
        let mut words = line.trim_end().split(',');
        let _time = words.next()?;
        let machine = Some(words.next()?).filter(|name| !name.is_empty()).map(str::to_owned);
        let kind = words.next()?;
        let mut data = words.map(plain);
        let what = match kind {
            "action" => (data.next()? == "up" && data.next()? == "start").then_some(What::Begun)?,
            "ui" => {
                let _tone = data.next()?;
                What::Talk(data.next()?)
            }
            "error-exit" => What::Failure { class: data.next()?, text: data.next().unwrap_or_default() },
            "plugin-version" => {
                // `0.11.2, system`
                let version = data.next()?.split(',').next().unwrap_or_default().trim().to_owned();
                return Some(Self { what: What::Plugin { name: machine?, version }, machine: None });
            }
            _ => return None,
        };
        Some(Self { machine, what })
    }
}

/// A datum without its disguise.
fn plain(word: &str) -> String {
    word.replace("%!(VAGRANT_COMMA)", ",").replace("\\n", "\n").replace("\\r", "\r")
}

/// The first line of a sentence, without the mark that Vagrant puts before it.
pub fn short(text: &str) -> &str {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    line.strip_prefix("==> ").and_then(|line| line.split_once(": ")).map_or(line, |(_, line)| line).trim_start()
}

/// Numbers of a version, for comparing.
pub fn version(text: &str) -> Option<Vec<u32>> {
    let numbers: Vec<u32> = text.trim().split('.').map_while(|part| part.parse().ok()).collect();
    (!numbers.is_empty()).then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_vagrant_writes_them() {
        let read = |line| Said::read(line).map(|said| (said.machine, said.what));
        assert_eq!(read("1795295020,calico-01,action,up,start"), Some((Some("calico-01".into()), What::Begun)));
        assert_eq!(read("1795295020,calico-01,action,up,end"), None);
        assert_eq!(read("1795295020,,metadata,provider,libvirt"), None);
        assert_eq!(
            read("1795295020,calico-02,ui,info,==> calico-02: a%!(VAGRANT_COMMA) b\\nc"),
            Some((Some("calico-02".into()), What::Talk("==> calico-02: a, b\nc".into())))
        );
        assert_eq!(
            read("1,,error-exit,Vagrant::Errors::BoxNotFound,The box\\nis gone"),
            Some((
                None,
                What::Failure { class: "Vagrant::Errors::BoxNotFound".into(), text: "The box\nis gone".into() }
            ))
        );
        assert_eq!(
            read("1795295020,vagrant-libvirt,plugin-version,0.11.2%!(VAGRANT_COMMA) system"),
            Some((None, What::Plugin { name: "vagrant-libvirt".into(), version: "0.11.2".into() }))
        );
        for line in ["", "x", "1,2", "1,,ui", "\u{fffd}"] {
            assert_eq!(Said::read(line), None, "{line}");
        }
    }

    #[test]
    fn sentences_are_short() {
        assert_eq!(short("==> calico-01: Starting domain.\nmore"), "Starting domain.");
        assert_eq!(short("\n    calico-01: SSH\n"), "calico-01: SSH");
        assert_eq!(short("    \n"), "");
    }

    #[test]
    fn versions_compare_as_numbers() {
        assert!(version("2.10.0") > version("2.3.4"));
        assert!(version("0.11.2.dev") >= version("0.11.2"));
        assert_eq!(version("Vagrant"), None);
    }
}
