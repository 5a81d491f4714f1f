//! Hints: guesses what the user meant.

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

/// A hint for a problem of the filter whose message lists the allowed words. `key` is the last key of the problem's path.
pub(super) fn for_problem(message: &str, key: Option<&str>) -> Option<String> {
    let (found, expected) = message.split_once(", expected one of ")?;
    let words = || expected.split('`').skip(1).step_by(2);
    if let Some((_, rest)) = found.split_once("unknown expression ${") {
        let (name, argument) = split(rest.strip_suffix('}')?);
        // The NAME in `header:NAME` is up to the user.
        let meant = similar(name, words().map(|word| split(word).0))?;
        return Some(format!("did you mean `${{{meant}{argument}}}`?"));
    }
    if let Some(quoted) = found.strip_prefix("unknown value ") {
        return similar(quoted.trim_matches('"'), words()).map(did_you_mean);
    }
    for_field(key.filter(|_| found == "unknown field")?, words())
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

fn did_you_mean(meant: &str) -> String {
    format!("did you mean `{meant}`?")
}

/// Splits an expression into its kind, and its argument with the leading colon.
fn split(expression: &str) -> (&str, &str) {
    expression.split_at(expression.find(':').unwrap_or(expression.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_word_is_told_as_it_is_written_right() {
        let of = |message, key| for_problem(message, key);
        assert_eq!(
            of("unknown field, expected one of `max_attempts`, `on`", Some("max_atempts")).unwrap(),
            "did you mean `max_attempts`?"
        );
        assert_eq!(
            of("unknown value \"enforced\", expected one of `enforce`, `observe`", Some("mode")).unwrap(),
            "did you mean `enforce`?"
        );
        assert_eq!(
            of("unknown expression ${heder:x-a}, expected one of `path`, `header:NAME`", None).unwrap(),
            "did you mean `${header:x-a}`?"
        );
        assert_eq!(
            of("unknown expression ${paht}, expected one of `path`, `header:NAME`", None).unwrap(),
            "did you mean `${path}`?"
        );
    }

    #[test]
    fn what_is_like_nothing_gets_no_hint() {
        assert_eq!(for_problem("unknown field, expected one of `max_attempts`, `on`", Some("xyz")), None);
        assert_eq!(for_problem("missing, but required", Some("targets")), None);
    }
}
