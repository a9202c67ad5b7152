//! DNS as busybox asks it: both styles of its nslookup, and a raw question over TCP.

use std::net::Ipv4Addr;

use crate::command::Argv;

/// What nslookup printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lookup {
    /// The server that was asked.
    pub server: Option<Ipv4Addr>,
    /// The addresses of the answer.
    pub addresses: Vec<Ipv4Addr>,
    /// The texts of the answer.
    pub texts: Vec<String>,
    /// Whether a name was said not to exist.
    pub absent: bool,
    /// Whether no server answered.
    pub silent: bool,
}

/// Ask for the address of `name` from a busybox container, at `server` or else the container's own; a last dot
/// keeps the search list away.
pub fn ask_address(name: &str, server: Option<Ipv4Addr>) -> Argv {
    lookup("-type=a", name, server)
}

/// Ask for the text of `name` from a busybox container.
pub fn ask_text(name: &str, server: Option<Ipv4Addr>) -> Argv {
    lookup("-type=txt", name, server)
}

/// nslookup tries for 10 seconds where nothing answers; 4 are enough here.
fn lookup(kind: &str, name: &str, server: Option<Ipv4Addr>) -> Argv {
    Argv::new("nslookup").args(["-timeout=4", kind, name]).args(server.map(|server| server.to_string()))
}

/// Ask as busybox up to 1.28 can: its nslookup takes a name and nothing else.
pub fn ask_old(name: &str) -> Argv {
    Argv::new("nslookup").arg(name)
}

/// Ask the same of a name that nobody has, and then of one that somebody has: what it says of the first is what it
/// says of a silent server too.
pub fn ask_old_absent(absent: &str, there: &str) -> Argv {
    const SCRIPT: &str = r#"nslookup "$1" 2>&1
echo --
exec nslookup "$2" 2>&1"#;
    Argv::script(SCRIPT, [absent, there])
}

/// Read the answer to [`ask_old_absent`]: what it said of the first name, which has no address unless it was found, and
/// of the second. None if it said neither.
pub fn old_absent(text: &str) -> Option<[Lookup; 2]> {
    let (absent, there) = text.split_once("--\n")?;
    let refused = absent.contains("can't resolve");
    let absent = Lookup::parse(absent);
    Some([Lookup { absent: refused, ..absent }, Lookup::parse(there)])
}

impl Lookup {
    /// Read nslookup of busybox up to 1.28 (`Address 1: 10.96.0.1 name`) or later (`Address: 10.96.0.1`).
    pub fn parse(text: &str) -> Self {
        let mut lookup = Self::default();
        let mut answering = false;
        for line in text.lines().map(str::trim) {
            let value = |line: &str| {
                line.split_once(':').and_then(|(_, value)| value.split_whitespace().next().map(str::to_owned))
            };
            if line.starts_with("Name:") {
                answering = true;
            } else if line.starts_with("Server:") {
                answering = false;
                lookup.server = value(line).and_then(|server| server.parse().ok());
            } else if line.starts_with("Address") && answering {
                lookup.addresses.extend(value(line).and_then(|address| address.parse::<Ipv4Addr>().ok()));
            } else if let Some((_, quoted)) = line.split_once("text = ") {
                lookup.texts.push(quoted.trim().trim_matches('"').into());
            } else if line.ends_with("NXDOMAIN") || line.contains("Name does not resolve") {
                lookup.absent = true;
            } else if line.contains("no servers could be reached") {
                lookup.silent = true;
            }
        }
        lookup
    }
}

/// Our questions' id over TCP: any will do, one connection asks one question.
const ID: u16 = 0x1234;

/// Ask for the address of `name` at `server` over TCP from a busybox container, whose nslookup cannot; prints hex.
pub fn ask_by_tcp(name: &str, server: Ipv4Addr) -> Argv {
    const SCRIPT: &str = "printf \"$1\" | nc -w 4 \"$2\" 53 | od -An -tx1 -v";
    // printf's own escapes: three octal digits a byte.
    let octal: String = question(name).iter().fold(String::new(), |text, byte| format!("{text}\\{byte:03o}"));
    Argv::script(SCRIPT, [octal, server.to_string()])
}

/// A question of RFC 1035 with its length before it.
fn question(name: &str) -> Vec<u8> {
    let mut body = Vec::from(ID.to_be_bytes());
    // Recursion desired; one question, nothing else.
    body.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.trim_end_matches('.').split('.') {
        let label = &label.as_bytes()[..label.len().min(63)];
        body.push(u8::try_from(label.len()).unwrap_or(63));
        body.extend(label);
    }
    // The root; type A; class IN.
    body.extend([0, 0, 1, 0, 1]);
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes()[..], &body].concat()
}

/// Why an answer over TCP could not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TcpError {
    /// Nothing came.
    #[error("nothing came back over TCP")]
    Nothing,
    /// It is not hex, too short, or no answer to our question.
    #[error("what came back over TCP is no DNS answer")]
    Foreign,
    /// The server refused, with this code (3: no such name).
    #[error("the server answered over TCP with code {0}")]
    Code(u8),
}

/// The addresses in the answer to [`ask_by_tcp`].
pub fn tcp_addresses(hex: &str) -> Result<Vec<Ipv4Addr>, TcpError> {
    if hex.trim().is_empty() {
        return Err(TcpError::Nothing);
    }
    let bytes: Option<Vec<u8>> = hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    let message = bytes.as_deref().and_then(|bytes| bytes.get(2..)).ok_or(TcpError::Foreign)?;
    match message.get(3) {
        Some(flags) if flags & 15 != 0 => return Err(TcpError::Code(flags & 15)),
        _ => {}
    }
    answers(message).ok_or(TcpError::Foreign)
}

fn answers(message: &[u8]) -> Option<Vec<Ipv4Addr>> {
    let pair = |at: usize| Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]));
    let is_answer = message.get(2)? & 0x80 != 0;
    if pair(0)? != ID || !is_answer {
        return None;
    }
    let mut at = 12;
    for _ in 0..pair(4)? {
        at = after_name(message, at)? + 4;
    }
    let mut found = Vec::new();
    for _ in 0..pair(6)? {
        at = after_name(message, at)?;
        let (kind, length) = (pair(at)?, usize::from(pair(at + 8)?));
        let data = message.get(at + 10..at + 10 + length)?;
        if let (1, &[a, b, c, d]) = (kind, data) {
            found.push(Ipv4Addr::new(a, b, c, d));
        }
        at += 10 + length;
    }
    Some(found)
}

/// Where a name ends: after its empty label, or after a pointer to an earlier one.
fn after_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            pointer if pointer & 0xc0 == 0xc0 => return Some(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const API: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
    const TCP: &str = " 00 40 12 34 85 80 00 01 00 01 00 00 00 00 04 65\n 74 63 64 07 64 65 66 61 75 6c 74 03 73 76 63 07\n \
                       63 6c 75 73 74 65 72 05 6c 6f 63 61 6c 00 00 01\n 00 01 c0 0c 00 01 00 01 00 00 00 00 00 04 0a 60\n 00 01\n";

    #[test]
    fn both_styles_of_busybox() {
        let new = "Server:\t\t10.96.0.10\nAddress:\t10.96.0.10:53\n\nName:\tetcd.default.svc.cluster.local\nAddress: 10.96.0.1\n\n";
        let old = "Server:    10.96.0.10\nAddress 1: 10.96.0.10 kube-dns.kube-system.svc.cluster.local\n\n\
                   Name:      kubernetes\nAddress 1: 10.96.0.1 kubernetes.default.svc.cluster.local\n";
        for text in [new, old] {
            let lookup = Lookup::parse(text);
            assert_eq!(lookup.server, Some(Ipv4Addr::new(10, 96, 0, 10)));
            assert_eq!(lookup.addresses, [API]);
            assert!(!lookup.absent && !lookup.silent);
        }
    }

    #[test]
    fn a_right_answer_may_come_with_refusals_of_other_names() {
        let text = "Server:\t\t10.96.0.10\nAddress:\t10.96.0.10:53\n\nName:\tetcd.default.svc.cluster.local\nAddress: 10.96.0.1\n\n\
                    ** server can't find etcd.svc.cluster.local: NXDOMAIN\n\n** server can't find etcd.cluster.local: NXDOMAIN\n\n";
        let lookup = Lookup::parse(text);
        assert_eq!(lookup.addresses, [API]);
        assert!(lookup.absent);
    }

    #[test]
    fn absent_silent_and_text() {
        let absent = "Server:\t\t198.18.7.11\nAddress:\t198.18.7.11:53\n\n** server can't find absent.cluster.local.: NXDOMAIN\n\n";
        assert!(Lookup::parse(absent).absent && Lookup::parse(absent).addresses.is_empty());
        assert!(Lookup::parse("nslookup: can't resolve 'absent': Name does not resolve\n").absent);
        assert!(Lookup::parse(";; connection timed out; no servers could be reached\n\n").silent);
        let text = "Server:\t\t10.244.0.74\nAddress:\t10.244.0.74:53\n\nwhoami.cluster.local\ttext = \"calico-02\"\n\n";
        assert_eq!(Lookup::parse(text).texts, ["calico-02"]);
    }

    #[test]
    fn a_name_that_an_old_one_does_not_find_is_absent_only_beside_one_that_it_finds() {
        let head = "Server:    10.100.0.10\nAddress 1: 10.100.0.10\n\n";
        let told = format!(
            "{head}nslookup: can't resolve 'absent.cluster.local'\n--\n{head}Name:      kubernetes\nAddress 1: 10.100.0.1\n"
        );
        let [absent, there] = old_absent(&told).expect("both");
        assert!(absent.absent && absent.addresses.is_empty());
        assert_eq!(
            (there.server, there.addresses),
            (Some(Ipv4Addr::new(10, 100, 0, 10)), vec![Ipv4Addr::new(10, 100, 0, 1)])
        );
        let [absent, _] = old_absent("Name:      absent\nAddress 1: 10.0.0.1\n--\n").expect("both");
        assert!(!absent.absent && absent.addresses.len() == 1);
        assert_eq!(old_absent("sh: nslookup: not found\n"), None);
    }

    #[test]
    fn a_question_and_its_answer_over_tcp() {
        let question = question("etcd.default.svc.cluster.local.");
        assert_eq!(question.len(), 50);
        assert_eq!(question[..6], [0, 48, 0x12, 0x34, 1, 0]);
        assert_eq!(tcp_addresses(TCP), Ok(vec![API]));
        assert_eq!(tcp_addresses("\n"), Err(TcpError::Nothing));
        assert_eq!(tcp_addresses("00 05 12 34"), Err(TcpError::Foreign));
        assert_eq!(tcp_addresses("not hex"), Err(TcpError::Foreign));
        assert_eq!(tcp_addresses(&TCP.replace("85 80", "85 83")), Err(TcpError::Code(3)));
    }

    #[test]
    fn a_damaged_answer_never_panics() {
        let words: Vec<&str> = TCP.split_whitespace().collect();
        for end in 0..words.len() {
            let _ = tcp_addresses(&words[..end].join(" "));
        }
    }
}
