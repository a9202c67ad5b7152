//! What is brought up, and by whom: what all steps between a locked cluster and its machines are told.

use std::time::Duration;

use super::cx::Cx;
use super::draft::Draft;
use crate::lab::plan::Plan;
use crate::machine::{Leased, Provider};

/// What is brought up, and by whom.
pub struct Site<'a> {
    /// This host.
    pub cx: &'a Cx<'a>,
    /// What was asked for.
    pub draft: &'a Draft,
    /// What is to be.
    pub plan: &'a Plan,
    /// Who makes the machines.
    pub provider: &'a dyn Provider,
    /// What the cluster holds of this host.
    pub leased: &'a Leased,
    /// How long a machine may take to say that it is ready.
    pub boot_limit: Duration,
    /// Boot every machine, template or not.
    pub cold: bool,
}
