//! The API server as a busybox container finds it: by the name in the certificate with which it begins to speak TLS.
//!
//! The wget of busybox 1.28 speaks https, and takes `--no-check-certificate` and ignores it (`networking/wget.c` of the
//! branch `1_28_stable`; since 2010, in builds for desktops). But it offers two ciphers alone, both with the key exchange
//! of RSA (`networking/tls.c` there: `CIPHER_ID1` and `CIPHER_ID2`). Where the API server's key is one of an elliptic
//! curve, as our own authority makes them, the two never agree; and Go 1.22 and later exchange no keys by RSA unless told
//! to. So no handshake is asked of it: up to TLS 1.2 a server shows its certificate to whoever says hello.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use crate::command::Argv;

/// A name that every API server's certificate has, those of 2016 too, and no other program's of a lab.
const NAME: &str = "kubernetes.default.svc";

/// Say hello to the server at `address`, and print [`NAME`] if its certificate has it as a name of its own.
pub fn ask(address: Ipv4Addr) -> Argv {
    // Names stand in a certificate as they are, between bytes that are in no name.
    const SCRIPT: &str = r#"printf "$2" | nc -w 4 "$1" 443 | tr -c 'a-z0-9.-' '\n' | grep -xF "$3" | head -n 1"#;
    Argv::script(SCRIPT, [address.to_string(), octal(&hello()), NAME.into()])
}

/// Whether that is an API server's answer.
pub fn is_api(text: &str) -> bool {
    text.trim() == NAME
}

/// The first record of a client of TLS 1.2 that knows the ciphers, curves and signatures of servers from 2015 to today.
fn hello() -> Vec<u8> {
    const RANDOM: &[u8; 32] = b"calicolab asks who answers here.";
    // ECDHE with AES-GCM and AES-CBC for keys of curves and of RSA, then RSA alone.
    const CIPHERS: [u16; 10] = [0xc02b, 0xc02f, 0xc02c, 0xc030, 0xc009, 0xc013, 0xc00a, 0xc014, 0x009c, 0x002f];
    const CURVES: [u16; 4] = [0x001d, 0x0017, 0x0018, 0x0019];
    const SIGNATURES: [u16; 10] = [0x0403, 0x0503, 0x0603, 0x0807, 0x0804, 0x0805, 0x0401, 0x0501, 0x0601, 0x0201];
    let words = |all: &[u16]| all.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
    let extension = |kind: u16, body: Vec<u8>| [kind.to_be_bytes().to_vec(), counted(2, body)].concat();
    let extensions = [
        extension(0x000a, counted(2, words(&CURVES))),
        extension(0x000b, counted(1, vec![0])),
        extension(0x000d, counted(2, words(&SIGNATURES))),
    ]
    .concat();
    let body = [
        vec![3, 3],
        RANDOM.to_vec(),
        counted(1, Vec::new()),
        counted(2, words(&CIPHERS)),
        counted(1, vec![0]),
        counted(2, extensions),
    ]
    .concat();
    let message = [vec![1], counted(3, body)].concat();
    [vec![22, 3, 1], counted(2, message)].concat()
}

/// `body` behind its length, which takes so many bytes.
fn counted(bytes: usize, body: Vec<u8>) -> Vec<u8> {
    let length = body.len().to_be_bytes();
    [length[length.len() - bytes..].to_vec(), body].concat()
}

/// As the format of a printf that writes these bytes.
fn octal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a String cannot fail.
        let _ = write!(text, "\\{byte:03o}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_of_the_hello_is_that_of_what_follows() {
        let all = hello();
        let at = |place: usize, bytes: usize| {
            all[place..place + bytes].iter().fold(0, |sum, byte| sum * 256 + usize::from(*byte))
        };
        assert_eq!((all[0], at(3, 2)), (22, all.len() - 5));
        assert_eq!((all[5], at(6, 3)), (1, all.len() - 9));
        let ciphers = at(44, 2);
        let extensions = 46 + ciphers + 2;
        assert_eq!((all[43], ciphers, at(extensions, 2)), (0, 20, all.len() - extensions - 2));
        assert_eq!(octal(&[0, 10, 37, 92, 255]), r"\000\012\045\134\377");
    }

    #[test]
    fn only_the_name_is_an_answer() {
        assert!(is_api("kubernetes.default.svc\n"));
        for other in ["", "kubernetes", "kubernetes.default.svc.cluster.local", "nc: timed out"] {
            assert!(!is_api(other), "{other}");
        }
    }
}
