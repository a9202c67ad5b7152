//! What a lab needs of the kernel under its nodes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What nodes must have that not every provider gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// A kernel of their own: its version, its modules, its clock.
    Kernel,
}

/// The needs by the words that files call them.
pub(in crate::lab) const NEEDS: [(&str, Need); 1] = [("kernel", Need::Kernel)];

/// A hierarchy of control groups, as systems mount it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cgroups {
    /// One for each controller.
    V1,
    /// One for all, and nothing else.
    V2,
}

/// Them by the words that files call them.
pub(in crate::lab) const CGROUPS: [(&str, Cgroups); 2] = [("v1", Cgroups::V1), ("v2", Cgroups::V2)];

/// The name of a kernel module, as `modprobe` takes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Module(String);

impl Module {
    /// As the kernel lists it: with `_` where files may have `-`.
    pub fn listed(&self) -> String {
        self.0.replace('-', "_")
    }
}

impl fmt::Display for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What is no name of a module.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no name of a kernel module: letters, digits, `_` and `-`")]
pub struct NoModule(String);

impl FromStr for Module {
    type Err = NoModule;

    fn from_str(text: &str) -> Result<Self, NoModule> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if text.is_empty() || text.starts_with('-') || !text.bytes().all(fits) {
            return Err(NoModule(text.into()));
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for Module {
    type Error = NoModule;

    fn try_from(text: String) -> Result<Self, NoModule> {
        text.parse()
    }
}

impl From<Module> for String {
    fn from(module: Module) -> Self {
        module.0
    }
}

#[cfg(test)]
mod tests {
    use crate::lab::file::tests::{primer_text, read};

    #[test]
    fn a_lab_says_what_it_needs_of_the_kernel() {
        let none = read(&primer_text(), &[]).expect("right");
        assert_eq!((none.needs, none.modules.len()), (None, 0));
        let lab = read(&primer_text(), &["needs=kernel", "modules=ipip,ip-set"]).expect("right");
        assert_eq!(lab.needs, Some(super::Need::Kernel));
        let listed: Vec<String> = lab.modules.iter().map(super::Module::listed).collect();
        assert_eq!(listed, ["ipip", "ip_set"]);
        let plan = crate::lab::example::planned(&lab, "demo");
        assert_eq!((plan.needs, &plan.modules), (lab.needs, &lab.modules));
        // A plan of an earlier calicolab says nothing of it.
        let mut value = serde_json::to_value(crate::lab::example::planned(&none, "demo")).expect("JSON");
        assert!(value.get("needs").is_none() && value.get("modules").is_none() && value.get("virtual").is_none());
        value["needs"] = "kernel".into();
        let again: crate::lab::plan::Plan = serde_json::from_value(value).expect("a plan");
        assert_eq!(again.needs, Some(super::Need::Kernel));
    }

    #[test]
    fn what_is_no_need_and_no_module_is_told_with_its_place() {
        let problems = read(&primer_text(), &["needs=kernal", "modules=ipip,a b,-f"]).expect_err("three are wrong");
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 3, "{told:#?}");
        assert!(told[0].contains("kernal") || told[0].contains("needs"), "{told:#?}");
        assert!(told.concat().contains("`a b` is no name of a kernel module"), "{told:#?}");
    }
}
