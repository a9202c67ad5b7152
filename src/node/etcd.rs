//! The datastore in etcd: its keys, how a node reads them with its own certificate, and etcd's JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ipnet::Ipv4Net;
use serde_json::Value;

use crate::command::Argv;

/// The folder of a node's certificates: `ca.crt`, `node.crt`, `node.key`.
pub const PKI: &str = "/etc/calicolab/pki";

/// The folder of certificates of an etcd beside Kubernetes: `ca.crt`, on its members `member.crt` and `member.key`, and
/// where Calico keeps its data there `calico.crt` and `calico.key` on every node.
pub const FOLDER: &str = "/etc/etcd";

/// etcdctl on the master, as a user there would call it.
pub const CTL: &str = "env ETCDCTL_API=3 etcdctl --endpoints https://127.0.0.1:2379 --cacert /etc/calicolab/pki/ca.crt \
                       --cert /etc/calicolab/pki/node.crt --key /etc/calicolab/pki/node.key";

/// Key of a node's own object, as Calico's etcd datastore has it.
pub fn node_key(node: &str) -> String {
    format!("/calico/resources/v3/projectcalico.org/nodes/{node}")
}

/// Key of the claim of a block by a node.
pub fn block_key(node: &str, block: Ipv4Net) -> String {
    format!("/calico/ipam/v2/host/{node}/ipv4/block/{}-{}", block.addr(), block.prefix_len())
}

/// Which etcd answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The cluster's id.
    pub cluster: u64,
    /// The member's id.
    pub member: u64,
}

/// An answer with the values of some keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Who answered.
    pub member: Member,
    /// Keys that are there, with their values.
    pub values: Vec<(String, String)>,
}

/// Why an answer could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EtcdError {
    /// It is no JSON, or none of etcd's.
    #[error("no answer of etcd: {0:?}")]
    Foreign(String),
    /// Nothing answered, in curl's words.
    #[error("{0}")]
    Unreached(String),
    /// etcd answered with an error.
    #[error("etcd answered with an error: {0}")]
    Refused(String),
}

/// Read several keys at each of `endpoints` (`198.18.7.11:2379`) in one request, with the node's own certificate.
///
/// Over etcd's JSON gateway and by one process for everything: a start of curl costs an emulated machine more than
/// the asking. A network that is cut is given up before the round's other answers are late. After each answer stands curl's own word about it.
pub fn ask_keys(endpoints: &[String], keys: &[String]) -> Argv {
    let ranges: Vec<Value> =
        keys.iter().map(|key| serde_json::json!({ "requestRange": { "key": BASE64.encode(key) } })).collect();
    let body = serde_json::json!({ "success": ranges });
    let file = |name: &str| format!("{PKI}/{name}");
    Argv::new("curl")
        .args([
            "-sS",
            "--connect-timeout",
            "5",
            "-m",
            "15",
            "--cacert",
            &file("ca.crt"),
            "--cert",
            &file("node.crt"),
            "--key",
            &file("node.key"),
        ])
        .args(["-w", "\ncurl: (%{exitcode}) %{errormsg}\n", "-d", &body.to_string()])
        .args(endpoints.iter().map(|endpoint| format!("https://{endpoint}/v3/kv/txn")))
}

/// What is shown to members that want to know who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Nothing.
    Nothing,
    /// Calico's certificate.
    Calico,
}

/// Ask each of `places` (`https://198.18.7.11:2379`) how it is; prints a line for each, the place first.
pub fn ask_health(places: &[String], shown: Shown) -> Argv {
    const SCRIPT: &str = r#"folder=$1 shown=$2
shift 2
for place; do
  printf '%s ' "$place"
  case $shown in
  calico) curl -sS -m 4 --cacert "$folder/ca.crt" --cert "$folder/calico.crt" --key "$folder/calico.key" "$place/health" 2>&1 ;;
  *) curl -sS -m 4 "$place/health" 2>&1 ;;
  esac | tr '\n' ' '
  echo
done"#;
    let shown = match shown {
        Shown::Nothing => "nothing",
        Shown::Calico => "calico",
    };
    Argv::script(SCRIPT, [FOLDER, shown].into_iter().chain(places.iter().map(String::as_str)))
}

/// Whether the member at `place` is healthy by the answer to [`ask_health`]; else why not.
pub fn health(text: &str, place: &str) -> Result<(), String> {
    let said = text.lines().find_map(|line| line.strip_prefix(place)?.strip_prefix(' ')).map(str::trim);
    let said = said.ok_or("it was not asked")?;
    match serde_json::from_str::<Value>(said).map(|answer| answer["health"].clone()) {
        Ok(health) if health == "true" || health == true => Ok(()),
        Ok(_) => Err(format!("it is not healthy: {said}")),
        Err(_) => Err(said.into()),
    }
}

/// Ask whether `endpoint` speaks HTTP without TLS; prints the status of the answer, `000` for none.
pub fn ask_plainly(endpoint: &str) -> Argv {
    Argv::new("curl")
        .args(["-sS", "-m", "4", "-o", "/dev/null", "-w", "%{http_code}\n"])
        .arg(format!("http://{endpoint}/version"))
}

/// Whether the answer to [`ask_plainly`] is one of etcd's without TLS; with TLS it refuses with status 400, or at once.
pub fn is_plain(text: &str) -> bool {
    text.trim() == "200"
}

/// The answers to [`ask_keys`], one for each endpoint that was tried.
pub fn answers(text: &str) -> Vec<Result<Answer, EtcdError>> {
    let mut answers = Vec::new();
    let mut body = String::new();
    for line in text.lines() {
        match line.strip_prefix("curl: (") {
            Some(word) if word.starts_with("0)") => answers.push(Answer::parse(&std::mem::take(&mut body))),
            Some(_) => {
                body.clear();
                answers.push(Err(EtcdError::Unreached(line.into())));
            }
            None => body.push_str(line),
        }
    }
    answers
}

/// The member's id as etcd's metrics at `url` tell it, from a busybox container: the page is large, one line is kept.
pub fn ask_metrics_from_pod(url: &str) -> Argv {
    Argv::script("wget -q -O - \"$1\" | grep '^etcd_server_id'", [url])
}

/// The member's id in the answer to [`ask_metrics_from_pod`].
pub fn metrics_member(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with("etcd_server_id{"))?;
    u64::from_str_radix(line.split('"').nth(1)?, 16).ok()
}

impl Answer {
    /// Read what the gateway or `etcdctl -w json` printed: `txn`, `get`, `endpoint status`.
    pub fn parse(text: &str) -> Result<Self, EtcdError> {
        let foreign = || EtcdError::Foreign(text.trim().chars().take(200).collect());
        let json: Value = serde_json::from_str(text).map_err(|_| foreign())?;
        if let Some(error) = json["error"].as_str() {
            return Err(EtcdError::Refused(error.into()));
        }
        let status = &json[0]["Status"];
        let body = if status.is_null() { &json } else { status };
        let id = |name: &str| number(&body["header"][name]);
        let member =
            Member { cluster: id("cluster_id").ok_or_else(foreign)?, member: id("member_id").ok_or_else(foreign)? };
        let parts = body["responses"].as_array().map(Vec::as_slice).unwrap_or_default();
        let ranges = parts.iter().map(|part| &part["response_range"]).chain([body]);
        let values = ranges.filter_map(|range| range["kvs"].as_array()).flatten().filter_map(|pair| {
            let plain = |name: &str| String::from_utf8(BASE64.decode(pair[name].as_str()?).ok()?).ok();
            Some((plain("key")?, plain("value")?))
        });
        Ok(Self { member, values: values.collect() })
    }

    /// The value of `key`, if it is there.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.values.iter().find(|(own, _)| own == key).map(|(_, value)| value.as_str())
    }
}

/// The address with its prefix (`198.18.7.12/24`) and the AS, if there is one, of a node's object.
pub fn node_bgp(object: &str) -> Option<(Ipv4Net, Option<u64>)> {
    let json: Value = serde_json::from_str(object).ok()?;
    let bgp = &json["spec"]["bgp"];
    Some((bgp["ipv4Address"].as_str()?.parse().ok()?, number(&bgp["asNumber"])))
}

/// The gateway writes 64-bit numbers as text, `etcdctl` as numbers.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Member = Member { cluster: 14_841_639_068_965_178_418, member: 10_276_657_743_932_975_437 };

    #[test]
    fn one_request_reads_both_keys() {
        let answer = Answer::parse(include_str!("samples/etcd-txn.json")).expect("etcd's");
        assert_eq!(answer.member, ID);
        let (network, asn) = node_bgp(answer.value(&node_key("calico-02")).expect("the node")).expect("an object");
        assert_eq!((network.to_string().as_str(), asn), ("198.18.7.12/24", Some(64512)));
        let block = block_key("calico-02", "10.244.0.64/26".parse().expect("a block"));
        assert_eq!(answer.value(&block), Some(r#"{"state":"confirmed"}"#));
        assert_eq!(answer.value(&node_key("calico-01")), None);
    }

    #[test]
    fn each_endpoint_has_its_own_answer() {
        let text = format!("{}\ncurl: (0) \n\ncurl: (7) Failed to connect\n", include_str!("samples/etcd-txn.json"));
        let answers = answers(&text);
        assert_eq!(answers.len(), 2);
        assert_eq!(answers[0].as_ref().expect("etcd's").member, ID);
        assert_eq!(answers[1], Err(EtcdError::Unreached("curl: (7) Failed to connect".into())));
    }

    #[test]
    fn etcdctl_writes_numbers() {
        let status = r#"[{"Endpoint":"127.0.0.1:2379","Status":{"header":{"cluster_id":14841639068965178418,"member_id":10276657743932975437,"revision":3,"raft_term":2},"version":"3.4.23"}}]"#;
        assert_eq!(Answer::parse(status).expect("etcd's").member, ID);
        let get = r#"{"header":{"cluster_id":14841639068965178418,"member_id":10276657743932975437},"kvs":[{"key":"YQ==","value":"Yg=="}],"count":1}"#;
        assert_eq!(Answer::parse(get).expect("etcd's").value("a"), Some("b"));
    }

    #[test]
    fn errors_are_told_apart() {
        assert!(matches!(Answer::parse("404 page not found\n"), Err(EtcdError::Foreign(_))));
        assert!(matches!(Answer::parse("{\"health\":\"true\"}"), Err(EtcdError::Foreign(_))));
        let denied = r#"{"error":"etcdserver: permission denied","code":7,"message":"etcdserver: permission denied"}"#;
        assert!(matches!(Answer::parse(denied), Err(EtcdError::Refused(text)) if text.contains("denied")));
    }

    #[test]
    fn metrics_name_the_member() {
        assert_eq!(metrics_member("etcd_server_id{server_id=\"8e9e05c52164694d\"} 1\n"), Some(ID.member));
        assert_eq!(metrics_member("<html>"), None);
    }
}
