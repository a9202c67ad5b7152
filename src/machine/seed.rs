//! The NoCloud seed disk, made without host tools.

use std::io::{self, Cursor, Write as _};
use std::path::Path;

use fatfs::{Date, DateTime, FileSystem, FormatVolumeOptions, FsOptions, Time, TimeProvider, format_volume};

use super::Seed;
use crate::durable;

/// The label by which cloud-init knows a NoCloud disk.
const LABEL: [u8; 11] = *b"CIDATA     ";

/// Anything fixed: the same seed must come to the same bytes.
const VOLUME_ID: u32 = 0x0ca1_1c01;

const MIB: usize = 1 << 20;

impl Seed {
    /// Write the disk to `path`, mode 0600: the user-data holds the machine's private host key.
    pub fn write_disk(&self, path: &Path) -> io::Result<()> {
        durable::write(path, &self.disk()?, 0o600)
    }

    /// The disk: an unpartitioned FAT volume `CIDATA` with `meta-data`, `user-data` and, of a seed that has it,
    /// `network-config`. The same seed gives the same bytes.
    pub fn disk(&self) -> io::Result<Vec<u8>> {
        let told = [("meta-data", &self.meta_data), ("user-data", &self.user_data)];
        let network = self.network_config.iter().map(|text| ("network-config", text));
        let files = || told.into_iter().chain(network.clone());
        let content: usize = files().map(|(_, text)| text.len()).sum();
        // A whole spare mebibyte is more than tables and half-filled clusters take at these sizes.
        let mut disk = Cursor::new(vec![0; (content.div_ceil(MIB) + 1) * MIB]);
        format_volume(&mut disk, FormatVolumeOptions::new().volume_label(LABEL).volume_id(VOLUME_ID))?;
        let volume = FileSystem::new(&mut disk, FsOptions::new().time_provider(&Always))?;
        for (name, text) in files() {
            let mut file = volume.root_dir().create_file(name)?;
            file.write_all(text.as_bytes())?;
            file.flush()?;
        }
        volume.unmount()?;
        Ok(disk.into_inner())
    }
}

/// A clock that stands still.
#[derive(Debug)]
struct Always;

impl TimeProvider for Always {
    fn get_current_date(&self) -> Date {
        Date { year: 1980, month: 1, day: 1 }
    }

    fn get_current_date_time(&self) -> DateTime {
        DateTime { date: self.get_current_date(), time: Time { hour: 0, min: 0, sec: 0, millis: 0 } }
    }
}

/// A seed for tests that look at what is made of one.
#[cfg(test)]
pub(crate) fn example() -> Seed {
    Seed {
        meta_data: "instance-id: one\n".into(),
        user_data: "#cloud-config\n".into(),
        network_config: None,
        host_key: "ssh-ed25519 AAAA".into(),
        payload: Some("/cache/payload.tar".into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;

    use super::*;

    fn seed(user_data: String) -> Seed {
        let meta_data = "instance-id: one\nlocal-hostname: calico-01\n".into();
        Seed { meta_data, user_data, ..example() }
    }

    fn read(disk: &[u8], name: &str) -> io::Result<String> {
        let volume = FileSystem::new(Cursor::new(disk.to_vec()), FsOptions::new())?;
        let mut text = String::new();
        volume.root_dir().open_file(name)?.read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn every_file_is_read_back() {
        for length in [0, 511, 300_000, 3 * MIB + 7] {
            let seed = seed("#cloud-config\n".repeat(length / 14));
            let disk = seed.disk().expect("a disk");
            assert_eq!(disk.len() % 512, 0);
            assert_eq!(read(&disk, "meta-data").expect("meta-data"), seed.meta_data);
            assert!(read(&disk, "user-data").expect("user-data") == seed.user_data, "user-data of {length} bytes");
            assert!(read(&disk, "network-config").is_err(), "nobody reads it");
            let with = Seed { network_config: Some("version: 2\n".into()), ..seed };
            let disk = with.disk().expect("a disk");
            assert_eq!(read(&disk, "network-config").ok(), with.network_config);
            assert!(read(&disk, "user-data").expect("user-data") == with.user_data);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        let seed = seed("#cloud-config\n".into());
        assert!(seed.disk().expect("a disk") == seed.disk().expect("a disk"));
    }

    /// The label is found by the same rules as the guest's udev uses.
    #[test]
    fn the_host_sees_a_cidata_disk_of_ours_alone() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let path = folder.path().join("seed.img");
        seed("#cloud-config\n".into()).write_disk(&path).expect("a disk");
        assert_eq!(std::fs::metadata(&path).expect("stat").permissions().mode() & 0o777, 0o600);
        let blkid = crate::command::find("blkid").expect("blkid: apt-get install util-linux");
        let said = Command::new(blkid).args(["-p", "-o", "export"]).arg(&path).output().expect("blkid runs");
        let said = String::from_utf8_lossy(&said.stdout);
        assert!(said.contains("LABEL=CIDATA\n") && said.contains("TYPE=vfat\n"), "{said}");
    }
}
