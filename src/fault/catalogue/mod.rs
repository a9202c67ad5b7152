//! The catalogue, by theme.

mod address;
mod bgp;
mod names;
mod route;
mod store;

use super::Fault;

/// Every fault, in the order of the chain.
pub fn catalogue() -> impl Iterator<Item = &'static Fault> {
    [store::ALL, address::ALL, bgp::ALL, route::ALL, names::ALL].into_iter().flatten()
}
