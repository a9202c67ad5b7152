//! What a home's clusters have on the host, in libvirt and with Vagrant: everything must be gone after `down`.

use std::fs;
use std::path::Path;

use crate::files::{self, list};
use crate::lab::Lab;
use crate::libvirt::{names, vagrant_home};
use crate::story::base;

/// A line for each thing that is left: machines, networks, pools, boxes, notes of Vagrant's, leases, files.
pub fn left(lab: &Lab) -> Vec<String> {
    let mut left = Vec::new();
    for cluster in ["primer", "second"] {
        for list in ["list", "net-list", "pool-list"] {
            left.extend(names(list, &base(lab, cluster)).into_iter().map(|name| format!("{list}: {name}")));
        }
        let pool = Path::new("/var/lib/libvirt/images").join(base(lab, cluster));
        left.extend(pool.exists().then(|| format!("the pool's folder {}", pool.display())));
    }
    let folder = lab.home().display().to_string();
    left.extend(list(&vagrant_home().join("boxes")).into_iter().map(|path| format!("box {}", path.display())));
    let index = fs::read_to_string(vagrant_home().join("data/machine-index/index")).unwrap_or_default();
    left.extend(index.contains(&folder).then(|| "a machine in Vagrant's index".to_owned()));
    left.extend(files::left(lab));
    left
}
