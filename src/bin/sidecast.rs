//! The command-line tool: says what the filter would say of a configuration, and do with a request, before Envoy does.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde_json::Value;
use sidecast::config::Config;

#[path = "sidecast/explain.rs"]
mod explain;
#[path = "sidecast/generated.rs"]
mod generated;
#[path = "sidecast/load.rs"]
mod load;

/// Checks and explains configurations of the Sidecast filter.
#[derive(Parser)]
#[command(name = "sidecast", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Prints every problem of the configurations. Exit status: 0 none, 1 some, 2 a file cannot be read.
    Check {
        /// The filter's configuration, as JSON or YAML.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    Explain(explain::Arguments),
    #[command(flatten)]
    Generated(generated::Command),
}

fn main() -> ExitCode {
    ExitCode::from(match Arguments::parse().command {
        Command::Check { files } => files.iter().map(|file| check(file)).max().unwrap_or_default(),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Generated(command) => generated::run::<Arguments>(&command),
    })
}

/// Prints the problems of one file; gives the exit status for it.
fn check(file: &Path) -> u8 {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("{}: {error}", file.display());
            return 2;
        }
    };
    let problems = problems(&text);
    for problem in &problems {
        println!("{}: {problem}", file.display());
    }
    u8::from(!problems.is_empty())
}

fn problems(text: &str) -> Vec<String> {
    // JSON is read by the filter's own reader, which sees repeated keys; the YAML reader refuses them itself.
    let json = if text.trim_start().starts_with('{') {
        text.to_owned()
    } else {
        match serde_saphyr::from_str::<Value>(text) {
            Ok(value) => value.to_string(),
            Err(error) => return vec![format!("not valid YAML: {error}")],
        }
    };
    // The variables are those of the VM; what they hold is not known here.
    match Config::parse(json.as_bytes(), &|name| Some(format!("${{env:{name}}}"))) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.into_iter().map(|problem| problem.to_string()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_and_json_are_held_to_the_same_rules() {
        let yaml = "targets:\n- name: a\n  cluster: c\n  timeout: 1s\n  retries: 3\nloop_guard: {secret: '${env:S}'}\n";
        let json = r#"{"targets":[{"name":"a","cluster":"c","timeout":"1s","retries":3}],"loop_guard":{"secret":"${env:S}"}}"#;
        assert_eq!(problems(yaml), problems(json));
        assert_eq!(problems(yaml).len(), 1);
        assert!(problems(yaml)[0].starts_with("targets[0].retries: unknown field"));
    }

    #[test]
    fn a_repeated_key_is_a_problem_in_both_forms() {
        assert_eq!(problems("targets: []\ntargets: []\n").len(), 1);
        assert!(problems(r#"{"targets":[],"targets":[]}"#).contains(&"targets: given twice".to_owned()));
    }

    #[test]
    fn a_sound_configuration_has_no_problems() {
        assert_eq!(problems("targets: [{name: a, cluster: c, limits: {max_in_flight: 3.0}}]"), [] as [&str; 0]);
    }
}
