//! Text of strangers, for terminals and logs.

/// How many characters are shown.
const LONGEST: usize = 200;

/// The text without what a terminal might obey, and without what nobody reads.
pub(super) fn shown(text: &str) -> String {
    let is_plain = |char: char| char.is_ascii_graphic() || char == ' ' || char.is_alphanumeric();
    let mut shown = String::new();
    for char in text.chars().take(LONGEST) {
        if is_plain(char) {
            shown.push(char);
        } else {
            shown.extend(char.escape_unicode());
        }
    }
    if text.chars().nth(LONGEST).is_some() {
        shown.push_str("...");
    }
    shown
}
