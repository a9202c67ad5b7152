//! Whether something answers: ping and HTTP, from a node and from a busybox container.

use std::net::Ipv4Addr;

use crate::command::Argv;

/// IPv4 and ICMP headers of an echo request, in bytes.
const HEADERS: u16 = 28;

/// One echo request from a node through `device`, `bytes` long as IP counts, never fragmented.
pub fn ping_from_node(to: Ipv4Addr, device: &str, bytes: u16) -> Argv {
    Argv::new("ping")
        .args(["-n", "-q", "-c", "1", "-W", "2", "-M", "do", "-I", device, "-s"])
        .arg(payload(bytes).to_string())
        .arg(to.to_string())
}

/// One echo request from a busybox container, `bytes` long as IP counts, with at most `wait_s` seconds for an answer.
pub fn ping_from_pod(to: Ipv4Addr, bytes: u16, wait_s: u8) -> Argv {
    Argv::new("ping")
        .args(["-q", "-c", "1", "-W", &wait_s.to_string(), "-s", &payload(bytes).to_string()])
        .arg(to.to_string())
}

fn payload(bytes: u16) -> u16 {
    bytes.saturating_sub(HEADERS)
}

/// How many echo requests were answered: `3 packets transmitted, 2 received` of iputils or `2 packets received` of
/// busybox. `None` if there is no such line, as when there is no route.
pub fn echoes(text: &str) -> Option<u32> {
    let line = text.lines().find(|line| line.contains("packets transmitted"))?;
    line.split(',').find(|part| part.contains("received"))?.split_whitespace().next()?.parse().ok()
}

/// Fetch a page from a busybox container. The limit is `timeout`'s: busybox 1.35 crashes on `wget -T`.
pub fn fetch_from_pod(url: &str) -> Argv {
    Argv::new("timeout").args(["6", "wget", "-q", "-O", "-", url])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_pings_are_read() {
        let iputils = "PING 198.18.7.12 (198.18.7.12) 56(84) bytes of data.\n\n--- 198.18.7.12 ping statistics ---\n\
                       1 packets transmitted, 1 received, 0% packet loss, time 0ms\n";
        let busybox = "PING 198.18.7.13 (198.18.7.13): 56 data bytes\n\n--- 198.18.7.13 ping statistics ---\n\
                       1 packets transmitted, 1 packets received, 0% packet loss\n";
        let none =
            "--- 198.18.7.99 ping statistics ---\n1 packets transmitted, 0 received, 100% packet loss, time 0ms\n";
        let errors = "1 packets transmitted, 0 received, +1 errors, 100% packet loss, time 0ms\n";
        assert_eq!(echoes(iputils), Some(1));
        assert_eq!(echoes(busybox), Some(1));
        assert_eq!(echoes(none), Some(0));
        assert_eq!(echoes(errors), Some(0));
        assert_eq!(echoes("ping: connect: Network is unreachable\n"), None);
    }

    #[test]
    fn sizes_are_of_the_whole_packet() {
        let argv = ping_from_node(Ipv4Addr::new(198, 18, 7, 12), "lab0", 1500).to_string();
        assert_eq!(argv, "ping -n -q -c 1 -W 2 -M do -I lab0 -s 1472 198.18.7.12");
    }
}
