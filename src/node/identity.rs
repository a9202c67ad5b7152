//! Who a machine says it is: its host name and machine-id.

use crate::command::Argv;

/// Host name and machine-id of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The kernel's host name.
    pub hostname: String,
    /// 32 hex digits, made at its first boot.
    pub machine_id: String,
}

/// Both in one read.
pub fn ask() -> Argv {
    Argv::new("cat").args(["/proc/sys/kernel/hostname", "/etc/machine-id"])
}

impl Identity {
    /// Read the answer to [`ask`]: two lines; `None` if it has not both.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines().map(str::trim);
        let (hostname, machine_id) = (lines.next()?, lines.next()?);
        let right = machine_id.len() == 32 && machine_id.bytes().all(|byte| byte.is_ascii_hexdigit());
        (right && !hostname.is_empty()).then(|| Self { hostname: hostname.into(), machine_id: machine_id.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_lines_or_nothing() {
        let good = Identity::parse("calico-01\n5f1c9a0f7d6c4b1e8f2a3b4c5d6e7f80\n").expect("both");
        assert_eq!(good.hostname, "calico-01");
        assert_eq!(Identity::parse("calico-01\n"), None);
        assert_eq!(Identity::parse("calico-01\nuninitialized\n"), None);
    }
}
