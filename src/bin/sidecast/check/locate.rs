//! Locates a problem: follows its path, such as `targets[1].retry.max_atempts`, to a position in the tree.

use super::tree::{Kind, Node};

/// The position that a path leads to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'n> {
    /// The value, or the innermost existing one if the path leads further.
    pub(super) value: &'n Node,
    /// The key of the value and the position of the key. `None` if the value is not a field.
    pub(super) key: Option<(&'n str, usize)>,
    /// The length of the rest of the path that leads nowhere, in bytes.
    left: usize,
}

impl Place<'_> {
    /// True if the path leads to this value, and no further.
    pub(super) fn is_exact(&self) -> bool {
        self.left == 0
    }

    /// The position to report: that of a key that should not exist, or that of a value that should be different. For a list or object it is the
    /// position of the key, because the value may begin on the next line.
    pub(super) fn at(&self, is_about_key: bool) -> usize {
        let is_scalar = !matches!(self.value.kind, Kind::List(_) | Kind::Object(_));
        match self.key {
            Some((_, at)) if is_about_key && self.left == 0 || !is_scalar => at,
            _ => self.value.span.start,
        }
    }
}

/// Follows a path. Keys may contain dots and brackets, so the longest match counts. If a key is repeated, the last one counts, as in the filter.
pub(super) fn locate<'n>(root: &'n Node, path: &str) -> Place<'n> {
    follow(Place { value: root, key: None, left: path.len() }, path)
}

fn follow<'n>(here: Place<'n>, rest: &str) -> Place<'n> {
    let mut best = here;
    let mut consider = |place: Place<'n>| {
        if place.left < best.left {
            best = place;
        }
    };
    match &here.value.kind {
        Kind::List(items) => {
            let index = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
            let next = index.and_then(|(index, after)| Some((items.get(index.parse::<usize>().ok()?)?, after)));
            if let Some((value, after)) = next {
                let after = after.strip_prefix('.').unwrap_or(after);
                consider(follow(Place { value, key: None, left: after.len() }, after));
            }
        }
        Kind::Object(members) => {
            for member in members.iter().rev() {
                let key = if member.key.is_empty() { r#""""# } else { &member.key };
                let Some(after) = rest.strip_prefix(key) else { continue };
                let after = match after.strip_prefix('.') {
                    Some(after) => after,
                    None if after.is_empty() || after.starts_with('[') => after,
                    None => continue,
                };
                let key = Some((member.key.as_str(), member.key_at));
                consider(follow(Place { value: &member.value, key, left: after.len() }, after));
            }
        }
        _ => {}
    }
    best
}

#[cfg(test)]
mod tests {
    use super::super::tree::from_json;
    use super::*;

    fn at(json: &str, path: &str, is_about_key: bool) -> String {
        let tree = from_json(json).unwrap();
        json.split_at(locate(&tree, path).at(is_about_key)).1.to_owned()
    }

    #[test]
    fn a_path_leads_to_the_value_or_its_key() {
        let json = r#"{"a":[{"b":1},{"c":2}]}"#;
        assert_eq!(at(json, "a[1].c", false), "2}]}");
        assert_eq!(at(json, "a[1].c", true), r#""c":2}]}"#);
        assert_eq!(at(json, "", false), json);
    }

    #[test]
    fn a_list_or_an_object_is_told_by_its_key() {
        assert_eq!(at(r#"{"a":[{"b":{}}]}"#, "a", false), r#""a":[{"b":{}}]}"#);
        assert_eq!(at(r#"{"a":[{"b":{}}]}"#, "a[0].b", false), r#""b":{}}]}"#);
        assert_eq!(at(r#"{"a":[{"b":{}}]}"#, "a[0]", false), r#"{"b":{}}]}"#);
    }

    #[test]
    fn what_is_missing_is_told_by_what_it_is_missing_in() {
        assert_eq!(at(r#"{"a":[{"b":1}]}"#, "a[0].cluster", true), r#"{"b":1}]}"#);
        assert_eq!(at(r#"{"a":[1]}"#, "a[7]", false), r#""a":[1]}"#);
    }

    #[test]
    fn keys_may_look_like_paths() {
        assert_eq!(at(r#"{"a":{"b":1},"a.b":2,"a[0]":[3],"":4}"#, "a[0][0]", false), r#"3],"":4}"#);
        assert_eq!(at(r#"{"a":{"x":1},"a.b":2}"#, "a.b", false), "2}");
        assert_eq!(at(r#"{"":{"b":1}}"#, r#""".b"#, false), "1}}");
    }

    #[test]
    fn of_a_repeated_key_it_is_the_last() {
        assert_eq!(at(r#"{"a":1,"a":2}"#, "a", true), r#""a":2}"#);
    }
}
