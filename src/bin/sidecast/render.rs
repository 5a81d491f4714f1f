//! `sidecast render`: writes configuration of Envoy that follows from a configuration of Sidecast.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::{json, Value};
use sidecast::config::problem::Problems;
use sidecast::config::raw::Document;
use sidecast::config::{signing, Config};

use self::predicate::Predicate;
use self::rules::Wanted;
use crate::check::{load, Loaded, Place};

#[path = "render/pattern.rs"]
mod pattern;
#[path = "render/place.rs"]
mod place;
#[path = "render/predicate.rs"]
mod predicate;
#[path = "render/query.rs"]
mod query;
#[path = "render/routes.rs"]
mod routes;
#[path = "render/rules.rs"]
mod rules;
#[cfg(test)]
#[path = "render/tests.rs"]
mod tests;
#[path = "render/whole.rs"]
mod whole;
#[path = "render/yaml.rs"]
pub(crate) mod yaml;

/// Write the whole file that a platform needs for a configuration
///
/// `--as` writes the whole file. Values that you do not give are placeholders, marked by a comment. Environment variables of the configuration are passed on
/// by name. A filter in an Envoy file gets only the capabilities that the configuration needs.
///
/// `--skip` keeps requests that no target wants out of the module, with conditions from the rules of all targets. A request that a target wants always enters
/// the module, which decides as before. Some rules cannot be checked by Envoy: each is named on standard error, and requests that only such a rule excludes
/// still enter. A target without rules wants every request, so there is nothing to skip. Requests that do not enter the module are missing from its
/// statistics and logs. Render again whenever a rule changes.
///
/// Exit status: 0 written, 1 there is nothing to skip or the configuration has problems, 2 something cannot be read, or an argument is invalid.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// A file with one configuration, as `check` finds it; `-` reads standard input
    file: PathBuf,
    /// How to keep unwanted requests out of the module
    #[arg(
        long,
        value_name = "HOW",
        value_enum,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "matcher"
    )]
    skip: Option<Skip>,
    /// The platform; without it, only what --skip changes is written, in the format of the file
    #[arg(long = "as", value_name = "FORM", value_enum)]
    form: Option<Form>,
    /// The path of the module, as Envoy sees it; for configurations that are not in an Envoy filter
    #[arg(long, value_name = "PATH")]
    module: Option<String>,
    #[command(flatten)]
    options: whole::Options,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Skip {
    /// Wraps the filter in a matcher, which checks each request; independent of routes
    Matcher,
    /// Disables the filter, and adds routes that enable it before those of the file; least work for Envoy
    Routes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Istio's WasmPlugin
    Wasmplugin,
    /// Istio's EnvoyFilter
    Envoyfilter,
    /// Envoy Gateway's EnvoyExtensionPolicy, and an EnvoyPatchPolicy for the clusters
    EnvoyGateway,
    /// An Envoy bootstrap
    Envoy,
    /// Values of the Helm chart
    Values,
}

impl Form {
    /// True if the file has this form already, so that only its filter changes.
    fn is_of(self, loaded: &Loaded) -> bool {
        loaded.place.as_ref().is_some_and(|place| match self {
            Self::Envoyfilter => place::is_envoyfilter(place),
            Self::Envoy => !place::is_envoyfilter(place),
            _ => false,
        })
    }
}

/// With more conditions, a request that no target wants costs Envoy less if it enters the module. A condition on a prefix takes some 550 instructions,
/// and entering the module some 20,000 more than a matcher with one condition.
const WORTH_WHILE: usize = 36;

const NO_ROUTES: &str = "--skip=routes: an EnvoyFilter cannot put routes before Istio's own; use --skip=matcher";

/// Renders. Returns the exit status.
pub(crate) fn run(arguments: &Arguments) -> u8 {
    let file = arguments.file.display();
    let loaded = match load(&arguments.file) {
        Ok(loaded) => loaded,
        Err(error) => return fail(2, &file, [error]),
    };
    let [loaded] = loaded.as_slice() else {
        return fail(2, &file, [format!("expected one configuration, found {}: put each into its own file", loaded.len())]);
    };
    let (document, variables) = match parse(&loaded.text) {
        Ok(parsed) => parsed,
        Err(problems) => return fail(1, &file, problems),
    };
    if arguments.skip.is_none() {
        let Some(form) = arguments.form else { return fail(2, &file, ["expected --as or --skip"]) };
        return written(&file, arguments.whole(form, loaded, &variables, None));
    }
    let wanted = Wanted::of(&document);
    for note in &wanted.notes {
        eprintln!("{note}");
    }
    if wanted.predicate == Predicate::Always {
        for target in &wanted.want_all {
            eprintln!("{target}: may want every request, as far as Envoy can tell");
        }
        return fail(1, &file, ["there is nothing to skip"]);
    }
    let conditions = wanted.predicate.conditions();
    if conditions > WORTH_WHILE && arguments.skip == Some(Skip::Matcher) {
        eprintln!(
            "{conditions} conditions: Envoy tries them one after another, which costs more than entering the module; measure it, or use --skip=routes"
        );
    }
    if let Some(form) = arguments.form.filter(|form| !form.is_of(loaded)) {
        let skipping = arguments.skipping(form, loaded, &wanted.predicate, &variables);
        return written(&file, skipping.and_then(|skipping| arguments.whole(form, loaded, &variables, Some(skipping))));
    }
    if arguments.options.are_given() {
        return fail(2, &file, ["options of a platform need --as"]);
    }
    let rendered = arguments.rendered(loaded, &wanted.predicate, &variables);
    written(&file, rendered.and_then(|value| yaml::write(&value)))
}

/// Writes the text, or says why there is none. Returns the exit status.
fn written(file: impl Display, text: Result<String, String>) -> u8 {
    match text {
        Ok(text) => u8::from(std::io::stdout().write_all(text.as_bytes()).is_err()) * 2,
        Err(error) => fail(2, file, [error]),
    }
}

/// Parses a configuration. Returns what the user wrote, and the names of the environment variables in it.
fn parse(text: &str) -> Result<(Document, BTreeSet<String>), Problems> {
    let variables = RefCell::new(BTreeSet::new());
    let env = signing::stand_in(text.as_bytes(), |name| {
        variables.borrow_mut().insert(name.to_owned());
        format!("${{env:{name}}}")
    });
    Config::parse(text.as_bytes(), &env)?;
    let written = serde_json::from_str::<Value>(text).unwrap_or_default();
    let document = deserr::deserialize::<_, _, Problems>(written)?;
    drop(env);
    Ok((document, variables.into_inner()))
}

impl Arguments {
    fn rendered(&self, loaded: &Loaded, wanted: &Predicate, variables: &BTreeSet<String>) -> Result<Value, String> {
        let filter = match (&loaded.place, &self.module) {
            (Some(place), None) => place::filter(place)?,
            (None, Some(module)) => place::new_filter(&loaded.text, module, variables, true),
            (Some(_), Some(_)) => return Err("--module: not needed, because the filter in the file names the module".to_owned()),
            (None, None) => {
                return Err("the configuration is not in an Envoy filter: name the module's file with --module".to_owned())
            }
        };
        let envoyfilter = loaded.place.as_ref().filter(|place| place::is_envoyfilter(place));
        match (self.skip, envoyfilter) {
            (Some(Skip::Routes), Some(_)) => Err(NO_ROUTES.to_owned()),
            (Some(Skip::Routes), None) => {
                let routes = loaded.place.as_ref().and_then(|place| place.routes.as_ref());
                routes::render(filter, routes, wanted)
            }
            (_, None) => Ok(json!([wrapped(&filter, wanted)])),
            (_, Some(place)) => Ok(place::with_filter(place, wrapped(&filter, wanted))),
        }
    }

    /// The filter that not all requests enter, and the routes that enable it, for a whole file.
    fn skipping(
        &self,
        form: Form,
        loaded: &Loaded,
        wanted: &Predicate,
        variables: &BTreeSet<String>,
    ) -> Result<(Value, Option<Value>), String> {
        let module = self.module.as_deref().unwrap_or(match form {
            Form::Envoy => whole::MODULE_OF_ENVOY,
            _ => whole::MODULE_OF_ISTIO,
        });
        let filter = place::new_filter(&loaded.text, module, variables, form == Form::Envoy);
        match (self.skip, form) {
            (Some(Skip::Routes), Form::Envoy) => {
                let rendered = routes::render(filter, Some(&whole::routes()), wanted)?;
                let filter = rendered.pointer("/http_filters/0").cloned().unwrap_or_default();
                Ok((filter, rendered.get("route_config").cloned()))
            }
            (Some(Skip::Routes), _) => Err(NO_ROUTES.to_owned()),
            _ => Ok((wrapped(&filter, wanted), None)),
        }
    }

    fn whole(
        &self,
        form: Form,
        loaded: &Loaded,
        variables: &BTreeSet<String>,
        skipping: Option<(Value, Option<Value>)>,
    ) -> Result<String, String> {
        let configuration = whole::as_written(&loaded.text)?;
        let module = self.module.as_deref();
        whole::Whole { options: &self.options, configuration, variables, module, skipping }.render(form)
    }
}

/// The filter behind a matcher. Envoy's composite filter makes the filter for requests that match, and for no others, so that they do not even enter
/// the module at their end.
fn wrapped(filter: &Value, wanted: &Predicate) -> Value {
    const TYPES: &str = "type.googleapis.com/envoy.extensions";
    let inner = json!({"name": filter.get("name"), "typed_config": filter.get("typed_config")});
    let matchers = match wanted {
        // A matcher has to have a list. Nobody sends this method.
        Predicate::Never => Predicate::header(":method", predicate::Text::exact("-")).to_xds(),
        wanted => wanted.to_xds(),
    };
    let action = json!({
        "name": "mirror",
        "typed_config": {"@type": format!("{TYPES}.filters.http.composite.v3.ExecuteFilterAction"), "typed_config": inner},
    });
    let mut outer = filter.clone();
    let matched = json!({
        "@type": format!("{TYPES}.common.matching.v3.ExtensionWithMatcher"),
        "extension_config": {
            "name": "composite",
            "typed_config": {"@type": format!("{TYPES}.filters.http.composite.v3.Composite")},
        },
        "xds_matcher": {"matcher_list": {"matchers": [{"predicate": matchers, "on_match": {"action": action}}]}},
    });
    set(&mut outer, "typed_config", matched);
    outer
}

/// Sets a member of an object.
fn set(object: &mut Value, name: &str, to: impl Into<Value>) {
    if let Some(object) = object.as_object_mut() {
        object.insert(name.to_owned(), to.into());
    }
}

fn fail<P: Display>(status: u8, place: impl Display, problems: impl IntoIterator<Item = P>) -> u8 {
    for problem in problems {
        eprintln!("{place}: {problem}");
    }
    status
}
