//! `sidecast diff`: tells what a change of a configuration does.

mod changes;
mod effects;
mod normal;
mod print;
mod requests;
mod secret;
mod targets;

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use deserr::deserialize;
use serde::Serialize;
use serde_json::Value;
use sidecast::config::problem::Problems;
use sidecast::config::raw::Document;
use sidecast::config::schema::schema;

use self::changes::{changes, Change};
use self::effects::Update;
use self::targets::Target;
use crate::check::{load_valid, Loaded, Place};

/// Show what a configuration change does
///
/// For each target: whether it is added, removed or kept, whether it gets more, fewer or other requests, and which settings differ, with their old and new
/// values. Defaults are filled in, so writing out a default is no difference. Credentials are never shown. It also shows what Envoy does with the update:
/// which statistics and circuit breakers start again, and what is drained.
///
/// If the files have several configurations, they are compared in order. Both files must have the same number.
///
/// Exit status: 0 no difference, 1 differences, 2 a file cannot be read or has errors, or an argument is invalid.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The old configuration, in any file that `check` reads; `-` reads standard input
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The new configuration
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Text for people
    #[default]
    Text,
    /// One JSON object
    Json,
}

/// The differences of two files.
#[derive(Debug, Serialize)]
struct Difference {
    differs: bool,
    /// One entry for each pair of configurations.
    configurations: Vec<Compared>,
}

/// The differences of two configurations.
#[derive(Debug, Serialize)]
struct Compared {
    differs: bool,
    targets: Vec<Target>,
    /// True if targets that stay have another order.
    order_differs: bool,
    /// The settings that are not of a target.
    changes: Vec<Change>,
    /// True if the settings of the VM differ. Only known for files of Envoy.
    vm_differs: bool,
    /// What the update does to all targets.
    effects: Vec<String>,
}

/// Compares the files. Returns the exit status.
pub(crate) fn run(arguments: &Arguments) -> u8 {
    let difference = match compare_files(&arguments.old, &arguments.new) {
        Ok(difference) => difference,
        Err(errors) => {
            errors.iter().for_each(|error| eprintln!("{error}"));
            return 2;
        }
    };
    let text = match arguments.format {
        Format::Text => print::text(&difference),
        Format::Json => format!("{:#}\n", serde_json::json!(difference)),
    };
    let mut out = anstream::stdout();
    // A reader that stops early, such as `head`, has what it wants.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    u8::from(difference.differs)
}

fn compare_files(old: &Path, new: &Path) -> Result<Difference, Vec<String>> {
    if old == Path::new("-") && new == Path::new("-") {
        return Err(vec!["-: only one of the files can be standard input".to_owned()]);
    }
    let (before, after) = match (load_valid(old), load_valid(new)) {
        (Ok(before), Ok(after)) => (before, after),
        (before, after) => {
            return Err([before.err(), after.err()].into_iter().flatten().flatten().collect());
        }
    };
    if before.len() != after.len() {
        return Err(vec![format!(
            "expected the same number of configurations in both files, found {} in {} and {} in {}",
            before.len(),
            old.display(),
            after.len(),
            new.display()
        )]);
    }
    let schema = schema();
    let configurations: Option<Vec<Compared>> =
        before.iter().zip(&after).map(|(before, after)| compare(before, after, &schema)).collect();
    let configurations =
        configurations.ok_or_else(|| vec!["`check` accepts a configuration that `diff` cannot read".to_owned()])?;
    Ok(Difference { differs: configurations.iter().any(|compared| compared.differs), configurations })
}

/// One side of a comparison.
struct Side {
    /// The configuration in its normal form.
    normal: Value,
    document: Document,
}

impl Side {
    fn new(text: &str, schema: &Value) -> Option<Self> {
        let document = serde_json::from_str::<Value>(text).ok()?;
        let document = deserialize::<Document, Value, Problems>(document).ok()?;
        Some(Self { normal: normal::normal(text, schema), document })
    }

    /// The settings that are not of a target.
    fn common(&self) -> Value {
        let mut common = self.normal.clone();
        if let Some(fields) = common.as_object_mut() {
            fields.remove("targets");
        }
        common
    }

    fn drain_timeout(&self) -> String {
        self.normal.get("drain_timeout").and_then(Value::as_str).unwrap_or_default().to_owned()
    }
}

fn compare(old: &Loaded, new: &Loaded, schema: &Value) -> Option<Compared> {
    let vm_differs = vm_config(old.place.as_ref()) != vm_config(new.place.as_ref()) && old.place.is_some() && new.place.is_some();
    let (old, new) = (Side::new(&old.text, schema)?, Side::new(&new.text, schema)?);
    let update = Update { drain_timeout: old.drain_timeout(), vm_differs };
    let targets = targets::compare(&old, &new, &update);
    let order_differs = targets::order_differs(&old, &new);
    let changes = changes(&old.common(), &new.common());
    let differs = vm_differs || order_differs || !changes.is_empty() || targets.iter().any(Target::differs);
    let effects = if differs { effects::of_update(&update, &new.normal, &changes) } else { Vec::new() };
    Some(Compared { differs, targets, order_differs, changes, vm_differs, effects })
}

/// The settings of the VM in which the filter runs.
fn vm_config(place: Option<&Place>) -> Option<&Value> {
    let filter = place.and_then(|place| place.document.pointer(&place.filter))?;
    let config = ["typed_config", "typedConfig"].iter().find_map(|name| filter.get(name))?.get("config")?;
    ["vm_config", "vmConfig"].iter().find_map(|name| config.get(name))
}
