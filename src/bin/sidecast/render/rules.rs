//! The rules of targets as conditions on headers that Envoy can check.
//!
//! A request must never be kept from a target that wants it. So the condition of a rule of `match` holds whenever the rule does, and the condition of
//! an exception holds only if the exception does. What Envoy cannot check is left out on that side, and told.

use sidecast::config::raw::{AuthorityRule, Document, HeaderRule, PathRule, Rule, Target};
use sidecast::select::pattern::Pattern;

use super::pattern::{rewrite, Bound};
use super::predicate::{Predicate, Text, ANY_BYTES};
use super::query;

/// The condition for a request to be wanted by any target.
pub(super) struct Wanted {
    pub(super) predicate: Predicate,
    /// What is left out, and why.
    pub(super) notes: Vec<String>,
    /// The targets that want every request.
    pub(super) want_all: Vec<String>,
}

impl Wanted {
    pub(super) fn of(document: &Document) -> Self {
        let (mut notes, mut want_all) = (Vec::new(), Vec::new());
        let mut predicates = Vec::new();
        // A target that follows another only wants what that one wants.
        for target in document.targets.0.iter().filter(|target| !target.after.is_of_target()) {
            let predicate = of_target(target, &mut notes);
            if predicate == Predicate::Always {
                want_all.push(target.name.0 .0.clone());
            }
            predicates.push(predicate);
        }
        Self { predicate: Predicate::any(predicates), notes, want_all }
    }
}

fn of_target(target: &Target, notes: &mut Vec<String>) -> Predicate {
    let name = &target.name.0 .0;
    let wanted = match &target.rules {
        None => Predicate::Always,
        Some(rules) => Predicate::any(rules.0.iter().enumerate().map(|(index, rule)| {
            let mut note = |part: &str, why: &str| notes.push(format!("{name}: match[{index}].{part}: {why}"));
            of_rule(rule, &mut note)
        })),
    };
    let excepted = target.except.iter().flat_map(|rules| rules.0.iter().enumerate()).map(|(index, rule)| {
        of_exception(rule).unwrap_or_else(|part| {
            let why = "Envoy cannot check it for certain, so the exception is left to the module";
            notes.push(format!("{name}: except[{index}].{part}: {why}"));
            Predicate::Never
        })
    });
    let excepted = Predicate::any(excepted.collect::<Vec<_>>());
    Predicate::every([wanted, Predicate::not(excepted)])
}

/// Holds at least if the rule does.
fn of_rule(rule: &Rule, note: &mut dyn FnMut(&str, &str)) -> Predicate {
    const PATTERN: &str = "Envoy's regular expressions cannot express it, so any value passes";
    // Envoy tries them in this order. Paths exclude most.
    let mut all = Vec::new();
    if let Some(path) = &rule.path {
        all.push(path_condition(path, Bound::AtLeast).unwrap_or_else(|| {
            note("path", PATTERN);
            Predicate::Always
        }));
    }
    all.extend(method_condition(rule));
    if let Some(authority) = &rule.authority {
        all.push(authority_condition(authority, Bound::AtLeast).unwrap_or_else(|| {
            note("authority", PATTERN);
            Predicate::Always
        }));
    }
    for (index, header) in rule.headers.iter().flat_map(|headers| headers.0.iter().enumerate()) {
        all.push(header_at_least(header).unwrap_or_else(|| {
            note(&format!("headers[{index}]"), PATTERN);
            Predicate::header(&header.name.0 .0, Text::Present)
        }));
    }
    for (index, parameter) in rule.query.iter().flat_map(|query| query.0.iter().enumerate()) {
        let (predicate, left_out) = query::at_least(parameter);
        if let Some(why) = left_out {
            note(&format!("query[{index}]"), why);
        }
        all.push(predicate);
    }
    if rule.body.is_some() {
        note("body", "Envoy decides before the body arrives, so any body passes");
    }
    Predicate::every(all)
}

/// Holds at most if the exception does. Returns the part that Envoy cannot check.
fn of_exception(rule: &Rule) -> Result<Predicate, String> {
    let mut all = Vec::new();
    if let Some(path) = &rule.path {
        all.push(path_condition(path, Bound::AtMost).ok_or("path")?);
    }
    all.extend(method_condition(rule));
    if let Some(authority) = &rule.authority {
        all.push(authority_condition(authority, Bound::AtMost).ok_or("authority")?);
    }
    for (index, header) in rule.headers.iter().flat_map(|headers| headers.0.iter().enumerate()) {
        all.push(header_at_most(header).ok_or_else(|| format!("headers[{index}]"))?);
    }
    for (index, parameter) in rule.query.iter().flat_map(|query| query.0.iter().enumerate()) {
        all.push(query::at_most(parameter).ok_or_else(|| format!("query[{index}]"))?);
    }
    if rule.body.is_some() {
        return Err("body".to_owned());
    }
    Ok(Predicate::every(all))
}

/// The condition on the method, which is exact.
fn method_condition(rule: &Rule) -> Option<Predicate> {
    let of = |method: &str| Predicate::header(":method", Text::exact(method));
    rule.methods.as_ref().map(|methods| Predicate::any(methods.0.iter().map(|method| of(&method.0 .0))))
}

/// The condition on the path, which ends before the query. Envoy sees both.
fn path_condition(rule: &PathRule, bound: Bound) -> Option<Predicate> {
    let of = |text: Text| Predicate::header(":path", text);
    match rule {
        PathRule { exact: Some(exact), .. } => {
            let path = &exact.0 .0;
            let starts = ["?", "#"].map(|end| of(Text::prefix(&format!("{path}{end}"))));
            Some(Predicate::any([of(Text::exact(path))].into_iter().chain(starts)))
        }
        PathRule { prefix: Some(prefix), .. } => Some(of(Text::prefix(&prefix.0 .0))),
        PathRule { regex: Some(regex), .. } => {
            let pattern = rewrite(regex.0.text(), bound, &['?', '#'], false)?;
            Some(of(Text::Pattern(format!("(?:{pattern})(?:[?#]{ANY_BYTES})?"))))
        }
        _ => None,
    }
}

/// The condition on the authority. It ignores case, and without an authority only `present: false` holds.
fn authority_condition(rule: &AuthorityRule, bound: Bound) -> Option<Predicate> {
    let of = |text: Text| Predicate::header(":authority", text.ignoring_case());
    let some = || of(Text::Pattern(r"\C+".to_owned()));
    Some(match rule {
        AuthorityRule { exact: Some(text), .. } if text.is_empty() => Predicate::Never,
        AuthorityRule { exact: Some(text), .. } => of(Text::exact(text)),
        AuthorityRule { prefix: Some(text), .. } | AuthorityRule { suffix: Some(text), .. } if text.is_empty() => some(),
        AuthorityRule { prefix: Some(text), .. } => of(Text::prefix(text)),
        AuthorityRule { suffix: Some(text), .. } => of(Text::suffix(text)),
        AuthorityRule { regex: Some(regex), .. } => {
            let pattern = rewrite(pattern_of(&regex.0 .0), bound, &[], true)?;
            Predicate::every([of(Text::Pattern(pattern)), some()])
        }
        AuthorityRule { present: Some(present), .. } => {
            if *present {
                some()
            } else {
                Predicate::not(some())
            }
        }
        _ => return None,
    })
}

fn pattern_of(pattern: &Pattern) -> &str {
    pattern.text()
}

/// Holds at least if any header of the name is such. Of a repeated header, Envoy sees all values with commas between.
fn header_at_least(rule: &HeaderRule) -> Option<Predicate> {
    let of = |text: Text| Predicate::header(&rule.name.0 .0, text);
    Some(match rule {
        HeaderRule { exact: Some(text), .. } => Predicate::any([
            of(Text::exact(text)),
            of(Text::prefix(&format!("{text},"))),
            of(Text::suffix(&format!(",{text}"))),
            of(Text::contains(&format!(",{text},"))),
        ]),
        HeaderRule { prefix: Some(text), .. } | HeaderRule { suffix: Some(text), .. } if text.is_empty() => of(Text::Present),
        HeaderRule { prefix: Some(text), .. } => {
            Predicate::any([of(Text::prefix(text)), of(Text::contains(&format!(",{text}")))])
        }
        HeaderRule { suffix: Some(text), .. } => {
            Predicate::any([of(Text::suffix(text)), of(Text::contains(&format!("{text},")))])
        }
        HeaderRule { regex: Some(regex), .. } => {
            let pattern = rewrite(regex.0.text(), Bound::AtLeast, &[], false)?;
            of(Text::Pattern(format!("(?:{ANY_BYTES},)?(?:{pattern})(?:,{ANY_BYTES})?")))
        }
        HeaderRule { present: Some(true), .. } => of(Text::Present),
        HeaderRule { present: Some(false), .. } => Predicate::not(of(Text::Present)),
        _ => return None,
    })
}

/// Holds at most if any header of the name is such. A text with a comma may be that of two headers.
fn header_at_most(rule: &HeaderRule) -> Option<Predicate> {
    let of = |text: Text| Predicate::header(&rule.name.0 .0, text);
    let whole = |text: &'_ str| !text.contains(',');
    Some(match rule {
        HeaderRule { exact: Some(text), .. } if whole(text) => of(Text::exact(text)),
        HeaderRule { prefix: Some(text), .. } if whole(text) => of(Text::prefix(text)),
        HeaderRule { suffix: Some(text), .. } if whole(text) => of(Text::suffix(text)),
        HeaderRule { regex: Some(regex), .. } => of(Text::Pattern(rewrite(regex.0.text(), Bound::AtMost, &[','], false)?)),
        HeaderRule { present: Some(true), .. } => of(Text::Present),
        HeaderRule { present: Some(false), .. } => Predicate::not(of(Text::Present)),
        _ => return None,
    })
}
