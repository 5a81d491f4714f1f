//! What the documents show is true: each block of the pages at the root, in `docs/` and `envoy/**/README.md` is run, or read by whoever would
//! read it, and each link leads somewhere. What a fence says (only its first word shows):
//!
//! | fence | what is done |
//! | --- | --- |
//! | `yaml`, `json` | read by the filter, by Envoy, or as Kubernetes and JSON have it; see [`yaml`] |
//! | `yaml file=NAME` | the same, and written there before the commands of its page run |
//! | `sh`, `console` | the commands of a page run as one script, in a stand-in for a clone; see [`shell`] |
//! | `sh no-run REASON` | only its syntax and its make targets are looked at |
//! | `text` | nothing |
//! | `text output` | the lines were printed by the commands of the page, in this order; `...` stands for lines that are left out |
mod clone;
mod links;
mod markdown;
mod shell;
mod validate;
mod yaml;

#[path = "../support/mod.rs"]
#[allow(dead_code)] // Shared with other tests; these need to know where Envoy and the filter are.
mod support;

use markdown::{pages, Block, Page};

/// Fails with everything that is wrong, not with the first.
#[track_caller]
fn assert_none(problems: &[String]) {
    assert!(problems.is_empty(), "{} wrong:\n{}", problems.len(), problems.join("\n"));
}

/// What is wrong with the blocks that these words begin the fence of.
fn problems_of(languages: &[&str], check: impl Fn(&Page, &Block) -> Result<(), String>) -> Vec<String> {
    let mut problems = Vec::new();
    for page in pages() {
        for block in page.blocks.iter().filter(|block| languages.contains(&block.language())) {
            if let Err(error) = check(&page, block) {
                problems.push(format!("{}:{}: {error}", page.path, block.line));
            }
        }
    }
    problems
}

#[test]
fn every_block_says_what_it_is() {
    let mut problems = Vec::new();
    for page in pages() {
        for block in &page.blocks {
            if let Err(error) = block.classified() {
                problems.push(format!("{}:{}: {error}", page.path, block.line));
            }
        }
    }
    assert_none(&problems);
}

#[test]
fn every_yaml_block_is_accepted_by_its_reader() {
    let problems = problems_of(&["yaml"], yaml::check);
    assert_none(&problems);
}

#[test]
fn every_json_block_is_json() {
    let problems = problems_of(&["json"], |_, block| {
        // One value, or a log with one in each line.
        let whole = serde_json::from_str::<serde_json::Value>(&block.text).map(drop);
        let lines = || block.text.lines().try_for_each(|line| serde_json::from_str::<serde_json::Value>(line).map(drop));
        whole.or_else(|error| lines().map_err(|_| error.to_string()))
    });
    assert_none(&problems);
}

#[test]
fn commands_that_are_not_run_have_a_syntax_and_make_targets_that_exist() {
    let clone = clone::Clone::new();
    let problems = problems_of(&["sh", "console"], |_, block| shell::check_syntax(&clone, &block.commands()));
    assert_none(&problems);
}

#[test]
fn make_targets_in_the_text_exist() {
    let clone = clone::Clone::new();
    let mut problems = Vec::new();
    for page in pages() {
        for (line, code) in page.codes.iter().filter(|(_, code)| code.starts_with("make ")) {
            if let Err(error) = shell::check_make(&clone, code) {
                problems.push(format!("{}:{line}: {error}", page.path));
            }
        }
    }
    assert_none(&problems);
}

/// A newcomer reads it to its end.
#[test]
fn the_readme_has_at_most_150_lines() {
    let lines = std::fs::read_to_string(markdown::root().join("README.md")).unwrap().lines().count();
    assert!(lines <= 150, "{lines}");
}

#[test]
fn every_link_leads_somewhere() {
    assert_none(&links::problems(&pages()));
}

#[test]
fn commands_do_what_their_page_says() {
    let problems: Vec<String> = pages().iter().filter_map(|page| shell::run(page).err()).collect();
    assert_none(&problems);
}
