//! `sidecast convert`: writes the filter's configuration that follows from mirrors of Envoy, Istio and the Gateway API.

mod condition;
mod envoy;
mod envoy_match;
mod gateway;
mod istio;
mod numbers;
mod remark;
mod rule;
mod shape;
mod source;
mod table;
mod term;
mod text;
mod write;

use std::collections::HashSet;
use std::io::Write;
use std::path::PathBuf;

use clap::ValueEnum;
use serde_json::json;

use self::gateway::Clusters;
use self::remark::{Origin, Remark, Remarks};
use self::source::Asked;
use self::write::Converted;
use crate::check::visible;

/// Convert the mirrors of Envoy, Istio or the Gateway API to a configuration
///
/// FILE is YAML or JSON: Envoy's bootstrap, a listener, a route configuration, virtual hosts or a route with `request_mirror_policies`; Istio's
/// VirtualService with `mirror` or `mirrors`; an HTTPRoute or GRPCRoute of the Gateway API with a filter `RequestMirror`; a list of these, or a
/// ConfigMap that holds such files. Give all files of one proxy at once: earlier routes and routes of other hosts decide which requests are left for a route.
///
/// The configuration goes to standard output, one document for each listener, mesh or gateway. Differences from the source are comments at their target, and
/// are printed on standard error with their place. Where rules cannot express the source, too few requests are copied rather than too many, and a remark says
/// so.
///
/// Exit status: 0 converted exactly, except for what always differs; 1 converted with remarks; 2 nothing was converted, or a file cannot be read.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Files to convert; `-` reads standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The namespace of Kubernetes objects that have none
    #[arg(long, default_value = "default")]
    namespace: String,
    /// How to name the clusters that Gateway API routes mirror to
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Clusters::Own)]
    clusters: Clusters,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Yaml)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The configuration, with comments
    Yaml,
    /// An object with `configurations` and `remarks`
    Json,
}

/// Converts the files. Returns the exit status.
pub(crate) fn run(arguments: &Arguments) -> u8 {
    let documents = match source::load(&arguments.files) {
        Ok(documents) => documents,
        Err(errors) => return fail(&errors),
    };
    let mut remarks = Remarks::default();
    let asked = Asked { namespace: &arguments.namespace, clusters: arguments.clusters };
    let found = source::find(&documents, &asked, &mut remarks);
    let mut names = HashSet::new();
    let mut all = Vec::new();
    for table in found.tables {
        let mut targets = table.targets(&mut remarks);
        write::name(&mut targets, &mut names);
        if !targets.is_empty() {
            all.push(Converted { name: table.name, advice: table.advice, targets });
        }
    }
    for target in all.iter().flat_map(|converted| &converted.targets) {
        for (origin, remark) in
            target.origins.iter().take(1).flat_map(|origin| target.remarks.iter().map(move |remark| (origin, remark)))
        {
            remarks.remark(origin, format!("target {}: {remark}", target.name));
        }
    }
    if !all.is_empty() {
        for leftover in &found.leftovers {
            remarks.note(leftover, "remove this mirror once Sidecast is in place: until then, the target gets each copy twice");
        }
    }
    let problems: Vec<String> = all
        .iter()
        .flat_map(|converted| converted.problems().into_iter().map(move |problem| format!("{}: {problem}", converted.name)))
        .collect();
    if !problems.is_empty() {
        tell(&remarks.all);
        return fail(&problems);
    }
    arguments.write(&all, &remarks)
}

impl Arguments {
    fn write(&self, all: &[Converted], remarks: &Remarks) -> u8 {
        if self.format == Format::Yaml || all.is_empty() {
            tell(&remarks.all);
        }
        if all.is_empty() {
            let files: Vec<String> = self.files.iter().map(|file| file.display().to_string()).collect();
            return fail(&[format!("{}: nothing to convert: no mirror found that the filter can replace", files.join(", "))]);
        }
        let text = match self.format {
            Format::Json => {
                let configurations = all.iter().map(|one| json!({"for": one.name, "configuration": one.configuration()}));
                Ok(format!("{:#}\n", json!({"configurations": configurations.collect::<Vec<_>>(), "remarks": remarks.all})))
            }
            Format::Yaml => yaml(all, &remarks.all),
        };
        match text {
            Ok(text) => match std::io::stdout().write_all(text.as_bytes()) {
                // A part of a configuration may be one that is taken, with fewer targets.
                Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                    fail(&[format!("cannot write the configuration: {error}")])
                }
                // A reader that stops early, such as `head`, has what it wants.
                _ => u8::from(!remarks.is_exact()),
            },
            Err(error) => fail(&[error]),
        }
    }
}

/// All configurations, each a document.
fn yaml(all: &[Converted], remarks: &[Remark]) -> Result<String, String> {
    let told: Vec<&Origin> = all.iter().flat_map(|one| one.targets.iter().flat_map(|target| &target.origins)).collect();
    // What stands at a target need not stand at the top.
    let rest: Vec<&Remark> =
        remarks.iter().filter(|remark| !(remark.message.starts_with("target ") && told.contains(&&remark.origin))).collect();
    let mut documents = Vec::new();
    for (index, one) in all.iter().enumerate() {
        documents.push(one.yaml((index == 0).then_some(rest.as_slice()))?);
    }
    Ok(documents.join("---\n"))
}

fn tell(remarks: &[Remark]) {
    let mut sorted: Vec<&Remark> = remarks.iter().collect();
    sorted.sort();
    sorted.iter().for_each(|remark| eprintln!("{}", remark.line()));
}

fn fail(problems: &[String]) -> u8 {
    problems.iter().for_each(|problem| eprintln!("{}", visible(problem)));
    2
}
