//! Rules: conditions of which all hold, and what is known of two of them.

use serde::{Serialize, Serializer};

use super::text::Text;

/// Conditions of which all hold. Without any it holds for every request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Rule {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) authority: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) methods: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) path: Option<Text>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) headers: Vec<Named>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) query: Vec<Named>,
}

/// A condition on a header or parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) text: Text,
}

impl Serialize for Named {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Written<'a> {
            name: &'a str,
            #[serde(flatten)]
            text: &'a Text,
        }
        Written { name: &self.name, text: &self.text }.serialize(serializer)
    }
}

/// Both rules together.
pub(super) enum Both {
    Rule(Rule),
    /// No request holds both.
    Nothing,
    /// The filter has no rule for it.
    Unknown,
}

impl Rule {
    pub(super) fn path(text: Text) -> Self {
        Self { path: Some(text), ..Self::default() }
    }

    pub(super) fn authority(text: Text) -> Self {
        Self { authority: Some(text), ..Self::default() }
    }

    pub(super) fn methods(methods: Vec<String>) -> Self {
        Self { methods: Some(methods), ..Self::default() }
    }

    pub(super) fn header(name: &str, text: Text) -> Self {
        Self { headers: vec![Named { name: name.to_ascii_lowercase(), text }], ..Self::default() }
    }

    pub(super) fn parameter(name: &str, text: Text) -> Self {
        Self { query: vec![Named { name: name.to_owned(), text }], ..Self::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// True if no request holds both. False if that is not known.
    pub(super) fn is_disjoint(&self, other: &Self) -> bool {
        let texts = |one: &Option<Text>, two: &Option<Text>| matches!((one, two), (Some(one), Some(two)) if one.is_disjoint(two));
        let named = |one: &[Named], two: &[Named]| {
            one.iter().any(|one| two.iter().any(|two| one.name == two.name && one.text.is_disjoint(&two.text)))
        };
        let methods =
            matches!((&self.methods, &other.methods), (Some(one), Some(two)) if !one.iter().any(|method| two.contains(method)));
        methods
            || texts(&self.path, &other.path)
            || texts(&self.authority, &other.authority)
            || named(&self.headers, &other.headers)
            || named(&self.query, &other.query)
    }

    /// True if the other rule holds for every request for which this one does. False if that is not known.
    pub(super) fn implies(&self, other: &Self) -> bool {
        let texts = |one: &Option<Text>, two: &Option<Text>| match (one, two) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(one), Some(two)) => one.implies(two),
        };
        let named = |one: &[Named], two: &[Named]| {
            two.iter().all(|two| one.iter().any(|one| one.name == two.name && one.text.implies(&two.text)))
        };
        let methods = match (&self.methods, &other.methods) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(one), Some(two)) => one.iter().all(|method| two.contains(method)),
        };
        methods
            && texts(&self.path, &other.path)
            && texts(&self.authority, &other.authority)
            && named(&self.headers, &other.headers)
            && named(&self.query, &other.query)
    }

    pub(super) fn and(&self, other: &Self) -> Both {
        if self.is_disjoint(other) {
            return Both::Nothing;
        }
        let (Some(path), Some(authority)) = (stronger(&self.path, &other.path), stronger(&self.authority, &other.authority))
        else {
            return Both::Unknown;
        };
        let methods = match (&self.methods, &other.methods) {
            (Some(one), Some(two)) => Some(one.iter().filter(|method| two.contains(method)).cloned().collect()),
            (one, two) => one.clone().or_else(|| two.clone()),
        };
        Both::Rule(Self {
            authority,
            methods,
            path,
            headers: all(&self.headers, &other.headers),
            query: all(&self.query, &other.query),
        })
    }

    /// The rule that holds where this one does not, if there is one.
    pub(super) fn inverted(&self) -> Option<Self> {
        let invert = |named: &[Named]| match named {
            [Named { name, text: Text::Present(present) }] => {
                Some(vec![Named { name: name.clone(), text: Text::Present(!present) }])
            }
            _ => None,
        };
        let is_only = |rule: &Self| rule.path.is_none() && rule.authority.is_none() && rule.methods.is_none();
        match (self.headers.as_slice(), self.query.as_slice()) {
            (headers, []) if is_only(self) => invert(headers).map(|headers| Self { headers, ..Self::default() }),
            ([], query) if is_only(self) => invert(query).map(|query| Self { query, ..Self::default() }),
            _ => None,
        }
    }
}

/// The condition that implies the other one. `None` if neither does.
fn stronger(one: &Option<Text>, two: &Option<Text>) -> Option<Option<Text>> {
    match (one, two) {
        (Some(first), Some(second)) if first.implies(second) => Some(one.clone()),
        (Some(first), Some(second)) if second.implies(first) => Some(two.clone()),
        (Some(_), Some(_)) => None,
        (one, two) => Some(one.clone().or_else(|| two.clone())),
    }
}

fn all(one: &[Named], two: &[Named]) -> Vec<Named> {
    let mut all: Vec<Named> = Vec::new();
    for named in one.iter().chain(two) {
        let is_said = |kept: &Named, named: &Named| kept.name == named.name && kept.text.implies(&named.text);
        if !all.iter().any(|kept| is_said(kept, named)) {
            all.retain(|kept| !is_said(named, kept));
            all.push(named.clone());
        }
    }
    all
}
