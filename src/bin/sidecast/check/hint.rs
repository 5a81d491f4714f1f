//! Words that are like others.

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

pub(super) fn did_you_mean(meant: &str) -> String {
    format!("did you mean `{meant}`?")
}

#[cfg(test)]
mod tests {
    use super::{almost, similar};

    #[test]
    fn a_word_is_like_another_if_most_of_it_is_the_same() {
        let words = ["max_attempts", "on", "pluginConfig"];
        assert_eq!(similar("max_atempts", words), Some("max_attempts"));
        assert_eq!(similar("attempts", words), Some("max_attempts"));
        assert_eq!(almost("pluginConfg", words), Some("pluginConfig"));
        assert_eq!(almost("attempts", words), None);
        assert_eq!(similar("xyz", words), None);
    }
}
