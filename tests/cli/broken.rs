//! Configurations that are wrong: what is said of them, and of which line.

use expect_test::expect_file;

use super::{fixtures, tool::sidecast};

#[test]
fn every_problem_is_told_with_its_line_and_a_hint() {
    for file in fixtures("broken") {
        let name = file.to_str().unwrap();
        let run = sidecast(&["check", name]);
        assert_eq!(run.status, 1, "{run:?}");
        let told =
            format!("{}/tests/cli/snapshots/{}.txt", env!("CARGO_MANIFEST_DIR"), file.file_stem().unwrap().to_str().unwrap());
        expect_file![told].assert_eq(&run.out);
    }
}

/// Snapshots are taken from what is said; where it is wrong stands in the files.
#[test]
fn every_problem_points_at_the_line_that_is_wrong() {
    for file in fixtures("broken") {
        let text = std::fs::read_to_string(&file).unwrap();
        let wrong: Vec<u64> =
            (1..).zip(text.lines()).filter(|(_, line)| line.ends_with("# wrong")).map(|(number, _)| number).collect();
        let run = sidecast(&["check", "--format", "json", file.to_str().unwrap()]);
        let mut told: Vec<u64> = run.findings().iter().map(|finding| finding["line"].as_u64().unwrap()).collect();
        told.dedup();
        assert_eq!(told, wrong, "{}: {}", file.display(), run.out);
    }
}
