//! A harness that owns `main`, so that a test binary can play other parts too, and whose last words say which test
//! failed, where and why: what a log keeps of a long run is its end.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

use crate::lab::Test;

thread_local! {
    /// What this thread's last panic said, and where.
    static SAID: RefCell<String> = RefCell::default();
}

/// Run the tests of these themes.
pub fn run(arguments: &Arguments, themes: &[(&str, &[Test])]) -> ExitCode {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        SAID.set(panic.to_string());
        usual(panic);
    }));
    let trial = |theme: &str, (name, test): Test| {
        Trial::test(format!("{theme}::{name}"), move || {
            catch_unwind(AssertUnwindSafe(test)).map_err(|_| Failed::from(SAID.take()))
        })
    };
    let trials = themes.iter().flat_map(|(theme, all)| all.iter().map(|test| trial(theme, *test))).collect();
    libtest_mimic::run(arguments, trials).exit_code()
}
