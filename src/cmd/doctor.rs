//! `doctor`: whether this host is fit for a lab, and what to do where it is not. Changes nothing.

use serde::Serialize;

use crate::artifact::image::needs;
use crate::failure::Failure;
use crate::lab::images::Origin;
use crate::lab::plan::Plan;
use crate::machine::{Kind, Lack};

use super::cx::Cx;
use super::draft::installable;
use super::table::columns;
use super::up::{Want, drafted};

/// What was found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Each provider, how machines would run there, and what it lacks.
    pub providers: Vec<Fitness>,
    /// What building the image lacks.
    pub image: Vec<Lack>,
    /// What keeps any host from bringing the lab up.
    pub lab: Vec<Lack>,
    /// Proxy variables that downloads honour, by name; their values may hold passwords.
    pub proxies: Vec<String>,
    /// Mirrors in the order they are tried, without passwords, and where each is named.
    pub mirrors: Vec<(String, String)>,
    /// Where state and cache are.
    pub places: Vec<(String, String)>,
    /// Whether the lab would come up here.
    pub fit: bool,
}

/// The variables that the HTTP library reads.
const PROXIES: [&str; 8] =
    ["http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"];

/// One provider on this host.
#[derive(Debug, Serialize)]
pub struct Fitness {
    /// Which.
    pub provider: Kind,
    /// One line on how machines would run.
    pub how: String,
    /// What it lacks.
    pub lacks: Vec<Lack>,
}

/// Look at this host with the eyes of the lab that is wanted.
pub async fn doctor(cx: &Cx<'_>, want: &Want) -> Result<Report, Failure> {
    let (draft, plan) = drafted(cx, want)?;
    // Where a cluster of this name is already is no answer to whether this host is fit.
    let plan = Plan { away: want.wish.away.clone(), ..plan };
    let mut providers = Vec::new();
    for provider in cx.providers.iter().filter(|one| plan.away.is_none() || one.kind().serves_remotes()) {
        let (how, lacks) = tokio::join!(provider.describe(plan.away.as_ref()), provider.lacks(&plan));
        providers.push(Fitness { provider: provider.kind(), how, lacks });
    }
    let image = match draft.image.origin {
        Origin::Download { .. } => Vec::new(),
        Origin::Build { .. } => needs::lacks(&cx.cache)
            .await
            .into_iter()
            .map(|lack| Lack { id: lack.id.into(), what: lack.what, remedy: lack.remedy, bearable: false })
            .collect(),
    };
    let able = |fitness: &Fitness| fitness.lacks.iter().all(|lack| lack.bearable);
    let proxies =
        PROXIES.iter().filter(|name| std::env::var_os(name).is_some()).map(|name| (*name).to_owned()).collect();
    let mirrors = cx.mirrors.iter().map(|mirror| (mirror.to_string(), mirror.named().to_string())).collect();
    let shown = |path: &std::path::Path| path.display().to_string();
    let lab = unable(&plan);
    let fit = providers.iter().any(able) && image.is_empty() && lab.is_empty();
    let places = vec![("state".into(), shown(cx.home.root())), ("cache".into(), shown(cx.cache.root()))];
    Ok(Report { providers, image, lab, proxies, mirrors, places, fit })
}

/// What keeps any host from bringing it up.
fn unable(plan: &Plan) -> Vec<Lack> {
    let lack = |id: &str, what: String, remedy: String| Lack { id: id.into(), what, remedy, bearable: false };
    let installer = installable(plan).err().map(|failure| {
        lack(failure.id(), format!("no way to install `{}` labs yet", plan.installer), "calicolab doctor primer".into())
    });
    let bytes = (!plan.missing.is_empty()).then(|| {
        let names: Vec<&str> = plan.missing.iter().map(|wanted| wanted.name.as_str()).collect();
        let what = format!("the lock has no digest for {}", names.join(", "));
        lack("lock.incomplete", what, format!("calicolab lock {}", plan.lab))
    });
    installer.into_iter().chain(bytes).collect()
}

/// The report for people.
pub fn text(report: &Report) -> String {
    let lack = |lack: &Lack| vec![mark(lack).to_owned(), lack.what.clone(), lack.remedy.clone()];
    let mut rows = Vec::new();
    for Fitness { provider, how, lacks } in &report.providers {
        let mark = if lacks.iter().all(|lack| lack.bearable) { "ok" } else { "no" };
        rows.push(vec![mark.into(), format!("{provider}: {how}"), String::new()]);
        rows.extend(lacks.iter().map(lack));
    }
    if report.image.is_empty() {
        rows.push(vec!["ok".into(), "the image can be built".into(), String::new()]);
    }
    rows.extend(report.image.iter().chain(&report.lab).map(lack));
    rows.extend(report.places.iter().map(|(what, path)| vec!["ok".into(), format!("{what}: {path}"), String::new()]));
    if !report.proxies.is_empty() {
        rows.push(vec!["ok".into(), format!("proxies are set by {}", report.proxies.join(", ")), String::new()]);
    }
    let mirror =
        |(mirror, named): &(String, String)| vec!["ok".into(), format!("mirror {mirror} ({named})"), String::new()];
    rows.extend(report.mirrors.iter().map(mirror));
    columns(&["", "FOUND", "REMEDY"], rows)
}

fn mark(lack: &Lack) -> &'static str {
    if lack.bearable { "so-so" } else { "no" }
}
