//! Small configuration files of a node that decide about pods and names, read by one program.

use std::net::Ipv4Addr;

use crate::command::Argv;
use crate::lab::installer::Installer;

/// Folder of the networks that pods can be given.
pub const CNI: &str = "/etc/cni/net.d";
/// Where a kubelet is told what it tells pods, by the installer.
const KUBELET: [&str; 2] = ["/etc/kubernetes/kubelet.yaml", "/var/lib/kubelet/config.yaml"];
/// Where pods look for names.
pub const RESOLVER: &str = "/var/lib/calicolab/busybox/etc/resolv.conf";
/// The DNS server's configuration.
pub const DNS: &str = "/etc/calicolab/dnsmasq.conf";
/// The kernel's switches for packets that are not its own: for all devices, and for those that come by one.
const FORWARD: &str = "/proc/sys/net/ipv4/";

/// The file of the network that is planned for pods: ours, or the one that Calico's own installer writes.
pub fn own_cni(installer: Installer) -> &'static str {
    if installer.has_kubernetes() { "10-calico.conflist" } else { "10-calicolab.conf" }
}

/// What the files say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Networks in the order in which a container runtime takes them.
    pub cni: Vec<String>,
    /// The name servers of pods; none if no pod's root has been made.
    pub nameservers: Vec<Ipv4Addr>,
    /// Whether pods have such a file at all.
    pub resolver: bool,
    /// Whom the kubelet has its pods ask, and in which file that stands; none if there is no kubelet.
    pub cluster_dns: Option<(String, Vec<Ipv4Addr>)>,
    /// Lines of the DNS server's configuration that answer for every name.
    pub answers_all: Option<String>,
    /// The switches of forwarding that are off.
    pub forwards_not: Vec<String>,
}

/// The networks in the CNI folder, then the other files, each under its name; forwarding in all and by `device`.
pub fn ask(device: &str) -> Argv {
    // The shell's own words alone: on an emulated node each program costs a moment.
    const SCRIPT: &str = r#"show() {
  echo "file $1"
  while IFS= read -r line || [ -n "$line" ]; do printf ' %s\n' "$line"; done <"$1"
}
cd "$1" && for file in *.conf *.conflist; do
  [ ! -e "$file" ] || { echo "cni $file"; show "$1/$file"; }
done
shift
for file; do
  [ ! -e "$file" ] || show "$file"
done"#;
    let [all, own] =
        ["ip_forward".into(), format!("conf/{device}/forwarding")].map(|name: String| [FORWARD, &name].concat());
    let [kubelet, other] = KUBELET;
    Argv::script(SCRIPT, [CNI, RESOLVER, DNS, &all, &own, kubelet, other])
}

impl Files {
    /// Read the answer to [`ask`].
    pub fn parse(text: &str) -> Self {
        let mut files = Self::default();
        let mut current = "";
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("cni ") {
                files.cni.push(name.into());
            } else if let Some(path) = line.strip_prefix("file ") {
                current = path;
                files.resolver |= path == RESOLVER;
            } else if let Some(line) = line.strip_prefix(' ') {
                files.take(current, line);
            }
        }
        files.cni.sort();
        files
    }

    fn take(&mut self, path: &str, whole: &str) {
        let line = whole.trim();
        match path {
            _ if KUBELET.contains(&path) => self.kubelet(path, whole),
            RESOLVER => {
                let server = line.strip_prefix("nameserver ").and_then(|server| server.trim().parse::<Ipv4Addr>().ok());
                self.nameservers.extend(server);
            }
            DNS if line.starts_with("address=/#/") => self.answers_all = Some(line.into()),
            _ if line == "0" => {
                let name = path.strip_prefix(FORWARD).map(|name| format!("net.ipv4.{}", name.replace('/', ".")));
                self.forwards_not.extend(name);
            }
            _ => {}
        }
    }

    /// `clusterDNS: [10.96.0.10]`, or one below the other as kubeadm writes it.
    fn kubelet(&mut self, path: &str, line: &str) {
        let key = line.strip_prefix("clusterDNS:");
        if key.is_some() {
            self.cluster_dns = Some((path.into(), Vec::new()));
        }
        let Some((_, servers)) = &mut self.cluster_dns else { return };
        let listed = key.or_else(|| line.trim_start().strip_prefix("- ")).unwrap_or_default();
        servers.extend(
            listed
                .split(|c: char| c.is_whitespace() || "[],\"'".contains(c))
                .filter_map(|word| word.parse::<Ipv4Addr>().ok()),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_is_read_for_what_it_decides() {
        let text = "cni 20-dns.conf\ncni 10-calicolab.conf\n\
            file /var/lib/calicolab/busybox/etc/resolv.conf\n nameserver 10.96.0.10\n search a b\n\
            file /etc/calicolab/dnsmasq.conf\n local=/#/\n address=/#/10.96.0.1\n\
            file /proc/sys/net/ipv4/ip_forward\n 0\n";
        let files = Files::parse(text);
        assert_eq!(files.cni, ["10-calicolab.conf", "20-dns.conf"]);
        assert_eq!((files.nameservers.as_slice(), files.resolver), (&[Ipv4Addr::new(10, 96, 0, 10)][..], true));
        assert_eq!(files.answers_all.as_deref(), Some("address=/#/10.96.0.1"));
        assert_eq!(files.forwards_not, ["net.ipv4.ip_forward"]);
        for kubelet in [
            "/etc/kubernetes/kubelet.yaml\n clusterDNS: [10.96.0.10]\n x: [10.0.0.1]\n",
            "/var/lib/kubelet/config.yaml\n clusterDNS:\n - 10.96.0.10\n x: y\n",
        ] {
            let files = Files::parse(&format!("file {kubelet}"));
            assert_eq!(files.cluster_dns.map(|(_, servers)| servers), Some(vec![Ipv4Addr::new(10, 96, 0, 10)]));
        }
        assert_eq!(Files::parse("file /proc/sys/net/ipv4/conf/lab0/forwarding\n 1\n").forwards_not.len(), 0);
    }
}
