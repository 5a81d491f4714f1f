//! Hints: guesses what the user meant.

use sidecast::config::problem::Mistake;
use sidecast::http::invalid::Invalid;

use super::level;

/// The similarity of two words that is enough for a hint (Jaro's measure). clap uses the same for its own hints.
const ALIKE: f64 = 0.7;
/// The similarity that suggests a typing error, even if the word is known in another section.
const ALMOST_THE_SAME: f64 = 0.9;

/// The word that is most similar to `word`, if one is similar enough.
pub(super) fn similar<'w>(word: &str, words: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let alike = words.into_iter().map(|other| (strsim::jaro(word, other), other)).filter(|(alike, _)| *alike > ALIKE);
    alike.max_by(|one, other| one.0.total_cmp(&other.0)).map(|(_, other)| other)
}

/// The word that is almost the same as `word`.
pub(super) fn almost<'w>(word: &str, words: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    similar(word, words).filter(|other| strsim::jaro(word, other) >= ALMOST_THE_SAME)
}

/// A hint for a mistake in the filter's configuration. `key` is the last one of its path.
pub(super) fn for_mistake(mistake: &Mistake, key: Option<&str>) -> Option<String> {
    match mistake {
        Mistake::UnknownField { known } => for_field(key?, known.iter().map(String::as_str)),
        Mistake::UnknownValue { found, known } => similar(found, known.iter().map(String::as_str)).map(did_you_mean),
        Mistake::Invalid(Invalid::UnknownExpression { found, known }) => {
            let (name, argument) = split(found);
            // Of `header:NAME` the name is up to the user.
            let meant = similar(name, known.iter().map(|word| split(word).0))?;
            // What is wrong may be the argument.
            (meant != name).then(|| format!("did you mean `${{{meant}{argument}}}`?"))
        }
        Mistake::Repeated | Mistake::Invalid(Invalid::Expected(_)) => None,
    }
}

/// A hint for a field that is not among those `known` in its section.
fn for_field<'w>(field: &str, known: impl Iterator<Item = &'w str>) -> Option<String> {
    let meant = similar(field, known);
    let Some(belongs) = level::of(field) else { return meant.map(did_you_mean) };
    match meant.filter(|meant| strsim::jaro(field, meant) >= ALMOST_THE_SAME) {
        Some(meant) => Some(format!("{} {belongs}", did_you_mean(meant))),
        None => Some(belongs),
    }
}

pub(super) fn did_you_mean(meant: &str) -> String {
    format!("did you mean `{meant}`?")
}

/// Splits an expression into its kind, and its argument with the leading colon.
fn split(expression: &str) -> (&str, &str) {
    expression.split_at(expression.find(':').unwrap_or(expression.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn unknown_expression(found: &str) -> Mistake {
        Invalid::UnknownExpression { found: found.to_owned(), known: &["path", "header:NAME"] }.into()
    }

    #[test]
    fn a_misspelt_word_is_told_as_it_is_written_right() {
        let field = Mistake::UnknownField { known: known(&["max_attempts", "on"]) };
        assert_eq!(for_mistake(&field, Some("max_atempts")).unwrap(), "did you mean `max_attempts`?");
        let value = Mistake::UnknownValue { found: "enforced".to_owned(), known: known(&["enforce", "observe"]) };
        assert_eq!(for_mistake(&value, Some("mode")).unwrap(), "did you mean `enforce`?");
        assert_eq!(for_mistake(&unknown_expression("heder:x-a"), None).unwrap(), "did you mean `${header:x-a}`?");
        assert_eq!(for_mistake(&unknown_expression("paht"), None).unwrap(), "did you mean `${path}`?");
        assert_eq!(for_mistake(&unknown_expression("header"), None), None);
    }

    #[test]
    fn what_is_like_nothing_gets_no_hint() {
        let field = Mistake::UnknownField { known: known(&["max_attempts", "on"]) };
        assert_eq!(for_mistake(&field, Some("xyz")), None);
        assert_eq!(for_mistake(&"missing, but required".into(), Some("targets")), None);
    }
}
