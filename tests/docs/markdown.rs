//! The pages, and what they hold: blocks, code in the text, links, headings.

use std::fs;
use std::path::Path;

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// A document.
pub(crate) struct Page {
    /// Its path in the repository.
    pub(crate) path: String,
    /// Its code blocks.
    pub(crate) blocks: Vec<Block>,
    /// Code within the text, by line.
    pub(crate) codes: Vec<(usize, String)>,
    /// Destinations of links, by line.
    pub(crate) links: Vec<(usize, String)>,
    /// What its headings are called in links.
    pub(crate) anchors: Vec<String>,
}

/// A code block.
#[derive(Clone)]
pub(crate) struct Block {
    /// The line of its fence.
    pub(crate) line: usize,
    /// What stands behind its fence.
    pub(crate) info: String,
    /// What is in it.
    pub(crate) text: String,
}

impl Block {
    /// The word that renderers look at.
    pub(crate) fn language(&self) -> &str {
        self.info.split_whitespace().next().unwrap_or_default()
    }

    /// The other words.
    fn rest(&self) -> &str {
        self.info.split_once(' ').map_or("", |(_, rest)| rest.trim())
    }

    /// Where it is to be written.
    pub(crate) fn file(&self) -> Option<&str> {
        self.rest().strip_prefix("file=")
    }

    /// The commands of the page print this.
    pub(crate) fn is_output(&self) -> bool {
        self.info == "text output"
    }

    /// Its commands are run.
    pub(crate) fn runs(&self) -> bool {
        matches!(self.language(), "sh" | "console") && self.rest().is_empty()
    }

    /// What is to be typed.
    pub(crate) fn commands(&self) -> String {
        if self.language() != "console" {
            return self.text.clone();
        }
        self.text.lines().filter_map(|line| line.strip_prefix("$ ")).map(|line| format!("{line}\n")).collect()
    }

    /// Its fence is one of those that are known.
    pub(crate) fn classified(&self) -> Result<(), String> {
        let known = match (self.language(), self.rest()) {
            ("yaml" | "json" | "text" | "sh" | "console", "") | ("text", "output") => true,
            ("yaml", _) => self.file().is_some_and(|name| !name.is_empty()),
            ("sh" | "console", rest) => rest.strip_prefix("no-run ").is_some_and(|reason| !reason.trim().is_empty()),
            _ => false,
        };
        if known {
            return Ok(());
        }
        Err(format!("a block of an unknown kind: {:?}", self.info))
    }
}

/// All pages: those at the root but the changelog, all of `docs/`, and the READMEs in `envoy/`.
pub(crate) fn pages() -> Vec<Page> {
    let mut paths: Vec<String> = ["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(ToOwned::to_owned).into();
    find("docs", &|name| name.ends_with(".md"), &mut paths);
    find("envoy", &|name| name == "README.md", &mut paths);
    paths.sort();
    paths.into_iter().map(|path| page(&path)).collect()
}

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn find(directory: &str, wanted: &dyn Fn(&str) -> bool, found: &mut Vec<String>) {
    for entry in fs::read_dir(root().join(directory)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = format!("{directory}/{name}");
        if entry.file_type().unwrap().is_dir() {
            find(&path, wanted, found);
        } else if wanted(&name) {
            found.push(path);
        }
    }
}

/// A page of the repository.
pub(crate) fn page(path: &str) -> Page {
    parse(path, &fs::read_to_string(root().join(path)).unwrap())
}

/// A page out of its text.
pub(crate) fn parse(path: &str, text: &str) -> Page {
    let mut page = Page { path: path.to_owned(), blocks: vec![], codes: vec![], links: vec![], anchors: vec![] };
    let (mut block, mut heading) = (None::<Block>, None::<String>);
    for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
        let line = text[..range.start].matches('\n').count() + 1;
        match event {
            Event::Start(Tag::CodeBlock(kind)) => {
                let info = if let CodeBlockKind::Fenced(info) = kind { info.to_string() } else { "indented".to_owned() };
                block = Some(Block { line, info, text: String::new() });
            }
            Event::End(TagEnd::CodeBlock) => page.blocks.extend(block.take()),
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => page.add_anchor(&heading.take().unwrap()),
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                page.links.push((line, dest_url.to_string()))
            }
            // A picture with a variant for dark pages is HTML.
            Event::Html(html) | Event::InlineHtml(html) => {
                page.links.extend(sources(&html).map(|source| (line, source.to_owned())));
            }
            Event::Text(part) => {
                if let Some(block) = &mut block {
                    block.text.push_str(&part);
                } else if let Some(heading) = &mut heading {
                    heading.push_str(&part);
                }
            }
            Event::Code(code) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&code);
                }
                page.codes.push((line, code.to_string()));
            }
            _ => {}
        }
    }
    page
}

/// What `src` and `srcset` name.
fn sources(html: &str) -> impl Iterator<Item = &str> {
    let after = ["src=\"", "srcset=\""].into_iter().flat_map(|name| html.split(name).skip(1));
    after.filter_map(|rest| rest.split_once('"')).map(|(source, _)| source)
}

impl Page {
    /// As GitHub makes it of a heading: a second one of the same words gets a number.
    fn add_anchor(&mut self, heading: &str) {
        let kept = heading.to_lowercase().replace(|c: char| !(c.is_alphanumeric() || " -_".contains(c)), "");
        let slug = kept.replace(' ', "-");
        let numbered = (0..).map(|n| if n == 0 { slug.clone() } else { format!("{slug}-{n}") });
        let free = numbered.into_iter().find(|name| !self.anchors.contains(name)).unwrap();
        self.anchors.push(free);
    }
}

#[test]
fn a_page_is_read_with_its_blocks_links_and_anchors() {
    let text = "# A `b`: c?\n\n[x](y.md#z) <img alt=\"a\" src=\"p.svg\"> <source srcset=\"q.svg\">\n\n```sh no-run why\ntrue\n```\n\n## A b c\n\n    indented\n";
    let page = parse("p.md", text);
    assert_eq!(page.anchors, ["a-b-c", "a-b-c-1"]);
    assert_eq!(page.links, ["y.md#z", "p.svg", "q.svg"].map(|link| (3, link.to_owned())));
    assert_eq!((page.blocks[0].line, page.blocks[0].commands().as_str(), page.blocks[0].runs()), (5, "true\n", false));
    assert!(page.blocks[0].classified().is_ok() && page.blocks[1].classified().is_err());
    for info in ["", "yml", "sh no-run", "sh no-run  ", "yaml file=", "text output of"] {
        let block = Block { line: 1, info: info.to_owned(), text: String::new() };
        assert!(block.classified().is_err(), "{info:?}");
    }
}
