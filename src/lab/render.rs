//! Plan and secrets -> what each node reads at its first boot, rendered strictly and parsed again.

use std::fmt;
use std::net::Ipv4Addr;

use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value};
use serde::Serialize;

use super::addressing;
use super::builtin::Library;
use super::era;
use super::name::{NodeName, PerNode};
use super::plan::{NodePlan, Plan};
use super::problem::{Problem, Problems};
use super::tree;

mod manifests;
mod no_cloud;
#[cfg(test)]
mod tests;
mod vagrantfile;

pub use vagrantfile::{Boot, Given, Names, Surroundings, vagrantfile};

pub use manifests::{AddOn, add_ons, manifest, manifests};

/// What a cluster's seeds hold that no plan may: made anew for each cluster.
pub struct Secrets {
    /// The user's public key, as `authorized_keys` has it.
    pub authorized_key: String,
    /// Each node's host key, made before the machine.
    pub host_keys: PerNode<HostKey>,
    /// Each node's cloud-init instance, new when its disk is.
    pub instance_ids: PerNode<String>,
    /// By what nodes join, where kubeadm makes the cluster.
    pub join: Option<Join>,
}

/// By what a node and the cluster it joins know each other.
#[derive(Clone, Serialize)]
pub struct Join {
    /// kubeadm's bootstrap token.
    pub token: String,
    /// SHA-256 of the authority's public key, as hex.
    pub authority: String,
}

/// A node's host key.
#[derive(Clone)]
pub struct HostKey {
    /// OpenSSH's private form, which ends with a line break.
    pub private: String,
    /// OpenSSH's public form: one line.
    pub public: String,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

/// Who reads what is rendered: the nodes' image.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    /// Its user.
    pub user: &'a str,
    /// Whether it has cloud-init as distributions ship it, and nothing of its own that sets the cards and says that the
    /// node is ready.
    pub cloud_init: bool,
}

/// What one node reads at its first boot. It holds the node's private host key.
#[derive(Clone, PartialEq, Eq)]
pub struct SeedTexts {
    /// NoCloud `user-data`: cloud-config.
    pub user_data: String,
    /// NoCloud `meta-data`.
    pub meta_data: String,
    /// NoCloud `network-config`, where it is read.
    pub network_config: Option<String>,
}

impl fmt::Debug for SeedTexts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SeedTexts").finish_non_exhaustive()
    }
}

/// Why a text could not be rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// A template is not there, or could not be read.
    #[error("the templates for node `{node}` could not be read")]
    Library {
        /// Whose.
        node: NodeName,
        /// Why.
        source: super::builtin::LibraryError,
    },
    /// A template is wrong, or wants something that is not there.
    #[error("{file}:{line}: {reason} (while rendering for node `{node}`)")]
    Template {
        /// The template.
        file: String,
        /// Its line, from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
        /// For whom it was rendered.
        node: NodeName,
    },
    /// What came out is not what cloud-init reads.
    #[error("`{template}` does not make {what} for node `{node}`")]
    NotReadable {
        /// The template, or how else the text was made.
        template: String,
        /// What it should be.
        what: &'static str,
        /// For whom.
        node: NodeName,
        /// All that is wrong, with places in the rendered text.
        source: Problems,
    },
}

/// A node as templates see it.
#[derive(Serialize)]
struct NodeView<'a> {
    name: &'a NodeName,
    role: &'static str,
    prefix_len: u8,
    first_pod: Ipv4Addr,
    last_pod: Ipv4Addr,
    #[serde(flatten)]
    plan: &'a NodePlan,
}

impl<'a> NodeView<'a> {
    fn new(plan: &'a Plan, name: &'a NodeName, node: &'a NodePlan) -> Self {
        Self {
            name,
            role: role(plan, name),
            prefix_len: plan.network.lab.prefix_len(),
            first_pod: addressing::first_free_pod(node.block),
            last_pod: addressing::last_free_pod(node.block),
            plan: node,
        }
    }
}

/// The template of `node`, without its ending: the master's or that of any other node.
fn role(plan: &Plan, node: &NodeName) -> &'static str {
    if *node == plan.master { "master" } else { "node" }
}

/// Render the seed of every node: `cloud-config/INSTALLER/master.yaml` for the master, `node.yaml` for the others.
///
/// `cloud-config/README.md` says what templates can use.
pub fn seeds(
    plan: &Plan,
    image: Reader<'_>,
    secrets: &Secrets,
    library: &Library,
) -> Result<PerNode<SeedTexts>, RenderError> {
    let flavour = plan.installer.to_string();
    let environment = environment(library, &flavour);
    plan.nodes.try_map(|name, node| {
        let template = format!("cloud-config/{flavour}/{}.yaml", role(plan, name));
        let shown =
            library.template(&template).map_err(|source| RenderError::Library { node: name.clone(), source })?.shown;
        let user_data = environment
            .get_template(&template)
            .and_then(|ready| ready.render(context(plan, name, node, image, secrets)))
            .map_err(|error| template_error(&error, &template, name, library))?;
        check(&user_data, &shown, "cloud-config", name)?;
        let meta_data = no_cloud::meta_data(name, &secrets.instance_ids[name]);
        check(&meta_data, "meta-data", "meta-data", name)?;
        let network_config = image.cloud_init.then(|| no_cloud::network_config(&plan.network, node));
        Ok(SeedTexts { user_data, meta_data, network_config })
    })
}

fn context(plan: &Plan, name: &NodeName, node: &NodePlan, image: Reader<'_>, secrets: &Secrets) -> Value {
    let nodes: Vec<NodeView<'_>> = plan.nodes.iter().map(|(name, node)| NodeView::new(plan, name, node)).collect();
    let host_key = &secrets.host_keys[name];
    minijinja::context! {
        node => seen(NodeView::new(plan, name, node)),
        nodes => seen(nodes),
        master => seen(NodeView::new(plan, &plan.master, plan.master_node())),
        dns_servers => plan.dns_servers().map(|(_, address)| address.to_string()).collect::<Vec<_>>(),
        net => seen(&plan.network),
        bgp => seen(&plan.bgp),
        image => seen(manifests::images(plan)),
        calico => plan.calico.is_some(),
        etcd => etcd(plan, name),
        runtime => plan.runtime().to_string(),
        cgroup_driver => plan.cgroup_driver(),
        policy => !plan.policy.is_none(),
        cluster => plan.cluster.as_str(),
        lab => plan.lab.as_str(),
        user => image.user,
        cloud_init => image.cloud_init,
        authorized_key => &secrets.authorized_key,
        host_key_private => &host_key.private,
        host_key_public => &host_key.public,
        instance_id => &secrets.instance_ids[name],
        join => secrets.join.as_ref().map_or(Value::UNDEFINED, seen),
        kubernetes => manifests::kubernetes(plan),
        kubeadm => kubeadm(plan).map_or(Value::UNDEFINED, Value::from),
    }
}

/// The version of the configuration that the lab's kubeadm reads, where it is known.
fn kubeadm(plan: &Plan) -> Option<&'static str> {
    era::kubeadm(plan.kubernetes.as_ref()?.version).map(|own| own.api)
}

/// The lab's own etcd, as templates see it.
#[derive(Serialize)]
struct EtcdView {
    member: bool,
    tls: bool,
    endpoints: Vec<String>,
    cluster: String,
}

fn etcd(plan: &Plan, node: &NodeName) -> Value {
    let tls = plan.kubernetes.as_ref().and_then(|kubernetes| kubernetes.etcd).is_some_and(|etcd| etcd.tls);
    let scheme = if tls { "https" } else { "http" };
    let peer = |member: &NodeName| format!("{member}={scheme}://{}:2380", plan.nodes[member].address);
    seen(EtcdView {
        member: plan.etcd_members().any(|member| member == node),
        tls,
        endpoints: plan.etcd_endpoints(),
        cluster: plan.etcd_members().map(peer).collect::<Vec<_>>().join(","),
    })
}

fn seen(value: impl Serialize) -> Value {
    Value::from(minijinja::value::Serde(value))
}

fn environment(library: &Library, flavour: &str) -> Environment<'static> {
    let mut environment = strict();
    let (templates, files) = (library.clone(), library.clone());
    environment.set_loader(move |path| match templates.template(path) {
        Ok(found) => Ok(Some(found.text)),
        Err(super::builtin::LibraryError::NotThere { .. }) => Ok(None),
        Err(error) => Err(minijinja::Error::new(ErrorKind::InvalidOperation, chain(&error))),
    });
    let (flavour, joining) = (flavour.to_owned(), library.clone());
    let at = flavour.clone();
    environment.set_path_join_callback(move |path, _| resolved(&joining, &at, path).into());
    environment.add_function("file", move |path: String| {
        let found = files.template(&resolved(&files, &flavour, &path));
        found.map(|found| found.text).map_err(|error| minijinja::Error::new(ErrorKind::InvalidOperation, chain(&error)))
    });
    environment
}

/// No unknown names, no escapes but those asked for, no lines left by tags.
fn strict() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    // A line that holds a block tag alone leaves nothing behind, or no YAML could be laid out readably.
    let syntax = minijinja::syntax::SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .keep_trailing_newline(true)
        .build()
        .expect("the usual delimiters");
    environment.set_syntax(syntax);
    // What is undefined is named only with this; no error is printed in its long form, so no secret goes with it.
    environment.set_debug(true);
    environment.add_filter("json", json);
    environment.add_filter("yaml", yaml);
    environment
}

/// `path` in the flavour's own folder if it is there, else among what all flavours share.
fn resolved(library: &Library, flavour: &str, path: &str) -> String {
    let own = format!("cloud-config/{flavour}/{path}");
    let shared = format!("cloud-config/{path}");
    if library.template(&own).is_err() && library.template(&shared).is_ok() { shared } else { own }
}

fn json(value: &Value) -> Result<String, minijinja::Error> {
    // A filter is handed what is not there too, and would write `null`.
    if value.is_undefined() {
        return Err(minijinja::Error::new(ErrorKind::UndefinedError, "it has no value to write"));
    }
    serde_json::to_string(value)
        .map_err(|error| minijinja::Error::new(ErrorKind::BadSerialization, "no JSON").with_source(error))
}

/// One line of YAML in printable ASCII: JSON is YAML, except that readers refuse some characters as they are.
fn yaml(value: &Value) -> Result<String, minijinja::Error> {
    let escaped = |c: char| match (c, u32::from(c)) {
        (' '..='~', _) => c.to_string(),
        (_, code @ 0..=0xffff) => format!("\\u{code:04x}"),
        (_, code) => format!("\\U{code:08x}"),
    };
    Ok(json(value)?.chars().map(escaped).collect())
}

type Reason<'e> = &'e (dyn std::error::Error + 'static);

fn reasons<'e>(error: &'e dyn std::error::Error) -> impl Iterator<Item = Reason<'e>> {
    std::iter::successors(error.source(), |reason: &Reason<'e>| reason.source())
}

/// An error and its reasons in one line.
fn chain(error: &dyn std::error::Error) -> String {
    reasons(error).fold(error.to_string(), |text, reason| format!("{text}: {reason}"))
}

/// The innermost error of the template engine that knows its place: an include's own, not the including line's.
fn template_error(error: &minijinja::Error, template: &str, node: &NodeName, library: &Library) -> RenderError {
    let innermost = reasons(error)
        .filter_map(|reason| reason.downcast_ref::<minijinja::Error>())
        .filter(|inner| inner.line().is_some())
        .last()
        .unwrap_or(error);
    let file = innermost.name().unwrap_or(template);
    let reason = match innermost.detail() {
        Some(detail) => format!("{}: {detail}", innermost.kind()),
        None => innermost.kind().to_string(),
    };
    RenderError::Template {
        file: library.template(file).map_or_else(|_| file.into(), |found| found.shown),
        line: innermost.line().unwrap_or(1),
        reason,
        node: node.clone(),
    }
}

/// Parse what was rendered: a group of keys, none of them twice; cloud-config by its first line too.
fn check(text: &str, template: &str, what: &'static str, node: &NodeName) -> Result<(), RenderError> {
    let not_readable =
        |source| RenderError::NotReadable { template: template.into(), what, node: node.clone(), source };
    let tree = tree::parse(text, what).map_err(|problem| not_readable(problem.into()))?;
    let mut found = tree::repeated_keys(&tree);
    if !matches!(tree.value, tree::Value::Map(_)) {
        found.push(Problem::new(&tree.at, format!("{} where a group of keys is expected", tree.value.kind())));
    }
    if what == "cloud-config" && text.lines().next() != Some("#cloud-config") {
        found.push(Problem::new(&tree.at, "the first line is not `#cloud-config`, without which it is not read"));
    }
    Problems::none_or(found).map_err(not_readable)
}
