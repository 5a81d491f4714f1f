//! A tree that finds all of its texts that another text begins or ends with.
//!
//! Each node holds the texts below it in a hash table, by their next bytes. The number of these bytes is the length of the shortest text. So a step
//! down the tree costs the same for any number of texts. The number of steps is at most the number of different lengths of nested texts. Mostly the
//! first step shows that no text fits.

use super::table::Table;

/// The end from which texts are read.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    Front,
    Back,
}

impl End {
    /// Splits off `length` bytes at this end. Returns them and the rest, or `None` if the text is shorter.
    fn split(self, text: &[u8], length: usize) -> Option<(&[u8], &[u8])> {
        match self {
            Self::Front => text.split_at_checked(length),
            Self::Back => text.split_at_checked(text.len().checked_sub(length)?).map(|(rest, taken)| (taken, rest)),
        }
    }
}

/// A tree of texts, with an item for each.
#[derive(Debug)]
pub(super) struct Tree<T> {
    end: End,
    /// The first node is the root. The nodes are in a flat list, because texts may be nested deeper than the stack allows.
    nodes: Vec<Node<T>>,
}

#[derive(Debug)]
struct Node<T> {
    /// The item of the text that ends here.
    here: Option<T>,
    /// The length of the keys.
    step: usize,
    children: Table<usize>,
}

impl<T> Tree<T> {
    /// Builds a tree. Texts are read from `end`, and each is given once. Without texts, the tree has no nodes.
    pub(super) fn new(end: End, texts: Vec<(&[u8], T)>) -> Self {
        let mut nodes = Vec::new();
        let mut below = if texts.is_empty() { Vec::new() } else { vec![texts] };
        // Each node consumes the texts below it. Texts that do not end there go to new nodes.
        while let Some(texts) = below.get_mut(nodes.len()).map(std::mem::take) {
            let mut node = Node { here: None, step: 0, children: Table::new() };
            node.step = texts.iter().map(|(text, _)| text.len()).filter(|length| *length > 0).min().unwrap_or_default();
            for (text, item) in texts {
                match end.split(text, node.step) {
                    Some((key, rest)) if !key.is_empty() => {
                        let child = node.children.get_or_insert(key, below.len()).copied().unwrap_or_default();
                        match below.get_mut(child) {
                            Some(texts) => texts.push((rest, item)),
                            None => below.push(vec![(rest, item)]),
                        }
                    }
                    _ => node.here = Some(item),
                }
            }
            nodes.push(node);
        }
        Self { end, nodes }
    }

    /// Walks along a text until `done` returns true. Each call gets the part of the text so far, and its item if there is one. Returns false if
    /// `done` never returns true.
    pub(super) fn any(&self, text: &[u8], mut done: impl FnMut(&[u8], Option<&T>) -> bool) -> bool {
        let mut next = self.nodes.first();
        let (mut length, mut rest) = (0_usize, text);
        while let Some(node) = next {
            let Some((part, _)) = self.end.split(text, length) else { return false };
            if done(part, node.here.as_ref()) {
                return true;
            }
            if node.children.is_empty() {
                return false;
            }
            let Some((key, others)) = self.end.split(rest, node.step) else { return false };
            next = node.children.get(key).and_then(|child| self.nodes.get(*child));
            length = length.saturating_add(node.step);
            rest = others;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found<'t>(tree: &Tree<&'t str>, text: &str) -> Vec<&'t str> {
        let mut found = Vec::new();
        let all = tree.any(text.as_bytes(), |part, here| {
            assert!(here.is_none_or(|here| here.as_bytes() == part));
            found.extend(here);
            false
        });
        assert!(!all);
        found
    }

    fn steps(tree: &Tree<&str>, text: &str) -> usize {
        let mut steps = 0;
        tree.any(text.as_bytes(), |_, _| {
            steps += 1;
            false
        });
        steps
    }

    fn tree<'a>(end: End, texts: &[&'a str]) -> Tree<&'a str> {
        Tree::new(end, texts.iter().map(|text| (text.as_bytes(), *text)).collect())
    }

    #[test]
    fn what_a_text_begins_with_is_found_shortest_first() {
        let tree = tree(End::Front, &["/a/b", "/a", "/a/bc/d", "/b", ""]);
        assert_eq!(found(&tree, "/a/bc/d/e"), ["", "/a", "/a/b", "/a/bc/d"]);
        assert_eq!(found(&tree, "/c"), [""]);
        assert_eq!(found(&tree, ""), [""]);
    }

    #[test]
    fn what_a_text_ends_with_is_found_shortest_first() {
        let tree = tree(End::Back, &[".com", ".a.com", "a.com", ".org"]);
        assert_eq!(found(&tree, "www.a.com"), [".com", "a.com", ".a.com"]);
        assert_eq!(found(&tree, "com"), [""; 0]);
    }

    #[test]
    fn texts_of_one_length_take_one_step() {
        let texts: Vec<String> = (0..1_000).map(|number| format!("/team/{number:03}")).collect();
        let tree = tree(End::Front, &texts.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(steps(&tree, "/team/999"), 2);
        assert_eq!(steps(&tree, "/team/abc"), 1);
    }

    #[test]
    fn the_walk_ends_with_a_yes() {
        let mut seen = Vec::new();
        let yes = tree(End::Front, &["/a", "/a/b", "/a/b/c"]).any(b"/a/b/c", |_, here| {
            seen.extend(here.copied());
            seen.len() == 2
        });
        assert!(yes);
        assert_eq!(seen, ["/a", "/a/b"]);
    }

    #[test]
    fn texts_may_be_nested_deeply() {
        let texts: Vec<String> = (1..=2_000).map(|length| "a".repeat(length)).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        assert_eq!(found(&tree(End::Front, &texts), texts[1_999]), texts);
    }

    proptest! {
        #[test]
        fn all_that_a_text_begins_or_ends_with_is_found(
            texts in prop::collection::btree_set("[ab]{0,6}", 0..20),
            text in "[ab]{0,8}",
        ) {
            let mut texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            texts.sort_by_key(|text| text.len());
            let begins: Vec<&str> = texts.iter().copied().filter(|part| text.starts_with(part)).collect();
            let ends: Vec<&str> = texts.iter().copied().filter(|part| text.ends_with(part)).collect();
            prop_assert_eq!(found(&tree(End::Front, &texts), &text), begins);
            prop_assert_eq!(found(&tree(End::Back, &texts), &text), ends);
        }
    }
}
