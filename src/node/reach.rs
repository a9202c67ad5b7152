//! Whether something answers: ping and HTTP, from a node and from a busybox container.

use std::net::Ipv4Addr;

use crate::command::Argv;

/// IPv4 and ICMP headers of an echo request, in bytes.
const HEADERS: u16 = 28;

/// How many full packets a node sends, so that some that are lost can be seen.
pub const ECHOES: u32 = 10;

/// Echo requests from a node through `device`, `full` bytes long as IP counts, never fragmented; if none is answered
/// also one of `small` bytes, which tells a narrow way from none.
pub fn ping_from_node(to: Ipv4Addr, device: &str, full: u16, small: u16) -> Argv {
    const SCRIPT: &str =
        r#"ping="ping -n -q -W 2 -M do -I $1"; $ping -c 10 -i 0.02 -s "$3" "$2" || $ping -c 1 -s "$4" "$2""#;
    let words = [device.to_owned(), to.to_string(), payload(full).to_string(), payload(small).to_string()];
    Argv::script(SCRIPT, words)
}

/// One echo request from a busybox container, `bytes` long as IP counts, with at most `wait_s` seconds for an answer.
pub fn ping_from_pod(to: Ipv4Addr, bytes: u16, wait_s: u8) -> Argv {
    Argv::new("ping")
        .args(["-q", "-c", "1", "-W", &wait_s.to_string(), "-s", &payload(bytes).to_string()])
        .arg(to.to_string())
}

/// The same with nothing known of the way: a container that was told of a narrow one cuts its packets to fit for ten
/// minutes, and busybox cannot forbid it.
pub fn ping_from_pod_anew(to: Ipv4Addr, bytes: u16, wait_s: u8) -> Argv {
    const SCRIPT: &str = r#"echo 1 >/proc/sys/net/ipv4/route/flush; exec "$@""#;
    Argv::script(SCRIPT, ping_from_pod(to, bytes, wait_s).words())
}

fn payload(bytes: u16) -> u16 {
    bytes.saturating_sub(HEADERS)
}

/// How many echo requests were answered: `3 packets transmitted, 2 received` of iputils or `2 packets received` of
/// busybox. `None` if there is no such line, as when there is no route.
pub fn echoes(text: &str) -> Option<u32> {
    text.lines().find_map(statistics)
}

/// Whether the full packet of [`ping_from_node`] was answered, and whether a small one would be.
pub fn full_and_small(text: &str, full: u16) -> [bool; 2] {
    // iputils names the size with all headers in the first line of each try.
    let size = format!("({full}) bytes of data");
    let mut current = false;
    let mut answered = [false; 2];
    for line in text.lines() {
        if line.starts_with("PING ") {
            current = line.contains(&size);
        } else if statistics(line).is_some_and(|count| count > 0) {
            answered[usize::from(!current)] = true;
        }
    }
    // What carries the full packet carries a small one.
    [answered[0], answered[0] || answered[1]]
}

/// How many full packets of [`ping_from_node`] were answered, and in how many milliseconds at the least.
pub fn full_packets(text: &str, full: u16) -> Option<(u32, Option<f64>)> {
    let size = format!("({full}) bytes of data");
    let own = text.split("PING ").find(|part| part.contains(&size))?;
    let least = own.lines().find_map(|line| {
        let (_, times) = line.strip_prefix("rtt ")?.split_once(" = ")?;
        times.split('/').next()?.parse().ok()
    });
    Some((own.lines().find_map(statistics)?, least))
}

fn statistics(line: &str) -> Option<u32> {
    let counts = line.contains("packets transmitted").then_some(line)?;
    counts.split(',').find(|part| part.contains("received"))?.split_whitespace().next()?.parse().ok()
}

/// Fetch a page from a busybox container. Whoever asks sets the limit: busybox 1.35 crashes on `wget -T`.
pub fn fetch_from_pod(url: &str) -> Argv {
    Argv::new("wget").args(["-q", "-O", "-", url])
}

/// Fetch a page from a node, which gives up in time for the round's other answers.
pub fn fetch_from_node(url: &str) -> Argv {
    Argv::new("curl").args(["-sSf", "-m", "5", url])
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
    fn a_full_packet_is_told_from_a_small_one() {
        let head = |size| format!("PING 198.18.7.12 (198.18.7.12) from 198.18.7.11 lab0: 1({size}) bytes of data.\n");
        let [yes, no] = [1, 0]
            .map(|count| format!("\n--- 198.18.7.12 ping statistics ---\n1 packets transmitted, {count} received\n"));
        let read = |text: String| full_and_small(&text, 1500);
        assert_eq!(read([head(1500), yes.clone()].concat()), [true, true]);
        assert_eq!(read([head(1500), no.clone(), head(84), yes].concat()), [false, true]);
        assert_eq!(read([head(1500), no.clone(), head(84), no].concat()), [false, false]);
        assert_eq!(read("ping: connect: Network is unreachable\n".into()), [false, false]);
    }

    #[test]
    fn loss_and_delay_are_seen() {
        let text = "PING 198.18.7.12 (198.18.7.12) from 198.18.7.11 lab0: 1472(1500) bytes of data.\n\n\
            --- 198.18.7.12 ping statistics ---\n10 packets transmitted, 7 received, 30% packet loss, time 180ms\n\
            rtt min/avg/max/mdev = 200.107/200.324/201.0/0.1 ms\n";
        assert_eq!(full_packets(text, 1500), Some((7, Some(200.107))));
        assert_eq!(full_packets(text, 1400), None);
    }

    #[test]
    fn sizes_are_of_the_whole_packet() {
        let argv = ping_from_node(Ipv4Addr::new(198, 18, 7, 12), "lab0", 1500, 84).to_string();
        assert!(argv.ends_with(" sh lab0 198.18.7.12 1472 56"), "{argv}");
    }
}
