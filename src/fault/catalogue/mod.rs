//! The catalogue, by theme.

mod address;
mod bgp;
mod kubernetes;
mod names;
mod route;
mod store;

use super::{Fault, Honest, Made, Victim};
use crate::lab::installer::For;
use crate::proof::check::Layer;

/// Every fault, in the order of the chain.
pub fn catalogue() -> impl Iterator<Item = &'static Fault> {
    [store::ALL, kubernetes::ALL, address::ALL, bgp::ALL, route::ALL, names::ALL].into_iter().flatten()
}

/// Made on the node it is about, whichever that is, seen in the layer `symptom` and explained by its own name: what most
/// of them are, and what the others say where they differ.
const fn fault(
    id: &'static str,
    symptom: Layer,
    about: &'static str,
    inject: &'static str,
    undo: &'static str,
) -> Fault {
    Fault {
        id,
        about,
        labs: For::Any,
        made: Made::There,
        victim: Victim::Any,
        symptom: Some(symptom),
        explained: id,
        honest: Honest::Anywhere,
        needs: None,
        inject,
        undo,
    }
}

/// The same where etcd, BIRD and services are the nodes' own.
const fn primer(fault: Fault) -> Fault {
    Fault { labs: For::Primer, ..fault }
}
