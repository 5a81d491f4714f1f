//! Finds the files of a directory that may hold a configuration.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Directories of tools, whose files nobody has written.
const PASSED_OVER: [&str; 2] = ["node_modules", "target"];
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// What a directory holds.
#[derive(Debug, Default)]
pub(super) struct Walked {
    /// The files, sorted.
    pub(super) files: Vec<PathBuf>,
    /// What cannot be read, and why.
    pub(super) unreadable: Vec<(PathBuf, io::Error)>,
}

/// Walks a directory and those in it. Links are followed, and each directory is walked once.
pub(super) fn walk(directory: &Path) -> Walked {
    let mut walked = Walked::default();
    let mut seen = BTreeSet::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        let entries =
            directory.canonicalize().and_then(|place| if seen.insert(place) { entries(&directory) } else { Ok(Vec::new()) });
        match entries {
            Ok(entries) => entries.into_iter().filter(|path| is_looked_at(path)).for_each(|path| match fs::metadata(&path) {
                Ok(kind) if kind.is_dir() => waiting.push(path),
                Ok(kind) if kind.is_file() && has_extension(&path) => walked.files.push(path),
                Ok(_) => {}
                // A link to nothing matters if it has the name of a configuration.
                Err(error) if has_extension(&path) => walked.unreadable.push((path, error)),
                Err(_) => {}
            }),
            Err(error) => walked.unreadable.push((directory, error)),
        }
    }
    walked.files.sort();
    walked.unreadable.sort_by(|one, other| one.0.cmp(&other.0));
    walked
}

fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect()
}

fn is_looked_at(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let is_of_tools = || PASSED_OVER.contains(&name.as_ref()) && path.is_dir();
    !name.starts_with('.') && !is_of_tools()
}

fn has_extension(path: &Path) -> bool {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_tools_and_hidden_ones_are_passed_over_and_links_are_followed_once() {
        let root = tempfile::tempdir().unwrap();
        for file in [
            "b.yaml",
            "a.yml",
            "sub/c.JSON",
            "sub/deep/d.yaml",
            "e.txt",
            ".hidden.yaml",
            ".git/f.yaml",
            "node_modules/g.json",
            "sub/target/h.yaml",
            "target.yaml",
        ] {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        std::os::unix::fs::symlink(root.path(), root.path().join("sub/loop")).unwrap();
        std::os::unix::fs::symlink("b.yaml", root.path().join("link.yaml")).unwrap();
        std::os::unix::fs::symlink("nowhere", root.path().join("broken.yaml")).unwrap();
        let walked = walk(root.path());
        let names: Vec<_> = walked.files.iter().map(|path| path.strip_prefix(root.path()).unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["a.yml", "b.yaml", "link.yaml", "sub/c.JSON", "sub/deep/d.yaml", "target.yaml"]);
        assert_eq!(walked.unreadable.len(), 1, "{walked:?}");
    }

    #[test]
    fn a_directory_with_the_name_of_a_tools_is_walked_if_it_is_asked_for() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("target");
        fs::create_dir(&target).unwrap();
        fs::write(target.join("a.yaml"), "").unwrap();
        assert_eq!(walk(&target).files.len(), 1);
        assert_eq!(walk(&root.path().join("none")).unreadable.len(), 1);
    }
}
