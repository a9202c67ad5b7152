//! The contract of providers whose machines are processes: what is foreign is a process too.

use std::cell::RefCell;
use std::process::{Child, Command};

use crate::contract::{Beside, Until, contract};
use crate::lab::Lab;

/// Take the contract beside the process that `foreign` starts: what bears a machine's name and is not ours.
pub fn contract_beside(until: Until, keeps: bool, foreign: impl Fn(&Lab) -> Command) {
    let stranger: RefCell<Option<Child>> = RefCell::default();
    contract(&Beside {
        until,
        keeps,
        foreign: &|lab| *stranger.borrow_mut() = Some(foreign(lab).spawn().expect("the stranger starts")),
        untouched: &|_| {
            let mut stranger = stranger.borrow_mut();
            stranger.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
        },
        gone: &|_| {
            if let Some(mut child) = stranger.borrow_mut().take() {
                child.kill().and_then(|()| child.wait()).expect("it runs");
            }
        },
    });
}
