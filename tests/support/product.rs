//! The product in a binary of tests: that binary itself, called by the product's name.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// The name by which the binary is the product.
pub const NAME: &str = "calicolab";

/// The product, about to be started.
pub fn command() -> Command {
    let mut command = Command::new(std::env::current_exe().expect("we run"));
    command.arg0(NAME);
    command
}
