//! Links within the repository. Those to elsewhere are only looked at for being addresses.

use std::path::{Component, Path, PathBuf};

use crate::markdown::{page, root, Page};

/// What is wrong with the links of these pages.
pub(crate) fn problems(pages: &[Page]) -> Vec<String> {
    let all = pages.iter().flat_map(|page| page.links.iter().map(move |link| (page, link)));
    all.filter_map(|(page, (line, link))| check(page, link).err().map(|error| format!("{}:{line}: {error}", page.path))).collect()
}

fn check(from: &Page, link: &str) -> Result<(), String> {
    if link.contains("://") || link.starts_with("mailto:") {
        let host = link.strip_prefix("https://").and_then(|rest| rest.split('/').next()).unwrap_or_default();
        return if host.contains('.') { Ok(()) } else { Err(format!("{link} is no https address")) };
    }
    let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
    let target = if path.is_empty() { from.path.clone() } else { resolve(&from.path, path)? };
    if !root().join(&target).exists() {
        return Err(format!("{link}: there is no {target}"));
    }
    match anchor {
        Some(anchor) if Path::new(&target).extension().is_none_or(|e| e != "md") => {
            Err(format!("{link}: #{anchor} in what is no page"))
        }
        Some(anchor) if !page(&target).anchors.iter().any(|known| known == anchor) => {
            Err(format!("{link}: {target} has no #{anchor}"))
        }
        _ => Ok(()),
    }
}

/// A path as seen from a page, without leaving the repository.
fn resolve(from: &str, path: &str) -> Result<String, String> {
    let mut resolved = PathBuf::from(from);
    resolved.pop();
    for component in Path::new(path).components() {
        match component {
            Component::ParentDir if resolved.pop() => {}
            Component::Normal(name) => resolved.push(name),
            Component::CurDir => {}
            _ => return Err(format!("{path} leads out of the repository")),
        }
    }
    Ok(resolved.to_str().unwrap().to_owned())
}

#[test]
fn a_link_to_nothing_is_found() {
    let from = crate::markdown::parse("docs/delivery.md", "");
    for good in ["../README.md", "delivery.md#promises", "#promises", "https://www.envoyproxy.io/docs", "../scripts"] {
        assert_eq!(check(&from, good), Ok(()), "{good}");
    }
    for bad in [
        "nowhere.md",
        "delivery.md#nothing",
        "#there",
        "http://insecure.example/",
        "../../outside.md",
        "../Makefile#L1",
        "https://localhost/",
    ] {
        assert!(check(&from, bad).is_err(), "{bad}");
    }
}
