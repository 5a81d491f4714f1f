//! Ranges of whole numbers as patterns of their decimal digits.

/// A pattern for the numbers from `start` to before `end`. `None` for an empty range.
pub(super) fn pattern(start: i64, end: i64) -> Option<String> {
    let last = end.checked_sub(1).filter(|last| start <= *last)?;
    let mut parts = Vec::new();
    if last >= 0 {
        parts.push(format!(r"\+?0*(?:{})", of(start.max(0).unsigned_abs(), last.unsigned_abs())));
    }
    if start <= 0 && last >= 0 {
        parts.push("-0+".to_owned());
    }
    if start < 0 {
        parts.push(format!("-0*(?:{})", of(last.min(-1).unsigned_abs(), start.unsigned_abs())));
    }
    Some(parts.join("|"))
}

/// A pattern for the numbers from `first` to `last`, without leading zeros.
fn of(first: u64, last: u64) -> String {
    let mut parts = Vec::new();
    let mut low = first;
    loop {
        // The largest number with as many digits.
        let digits = low.to_string().len();
        let high = "9".repeat(digits).parse().unwrap_or(u64::MAX).min(last);
        parts.push(between(&digits_of(low), &digits_of(high)));
        match high.checked_add(1).filter(|next| *next <= last) {
            Some(next) => low = next,
            None => return parts.join("|"),
        }
    }
}

fn digits_of(number: u64) -> Vec<u8> {
    number.to_string().into_bytes()
}

/// A pattern for the numbers between two with equally many digits.
fn between(low: &[u8], high: &[u8]) -> String {
    if !low.is_empty() && low.iter().all(|digit| *digit == b'0') && high.iter().all(|digit| *digit == b'9') {
        return format!("[0-9]{{{}}}", low.len());
    }
    let (Some((first, low)), Some((last, high))) = (low.split_first(), high.split_first()) else { return String::new() };
    if first == last {
        return format!("{}{}", char::from(*first), between(low, high));
    }
    let (least, greatest) = (vec![b'0'; low.len()], vec![b'9'; low.len()]);
    let mut parts = vec![format!("{}{}", char::from(*first), between(low, &greatest))];
    if first.saturating_add(1) < *last {
        let (from, to) = (char::from(first.saturating_add(1)), char::from(last.saturating_sub(1)));
        parts.push(format!("[{from}-{to}]{}", between(&least, &greatest)));
    }
    parts.push(format!("{}{}", char::from(*last), between(&least, high)));
    format!("(?:{})", parts.join("|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_its_numbers_and_no_others() {
        for (start, end) in
            [(-5, 10), (0, 1), (-3, -1), (7, 7), (95, 1_234), (-120, -7), (100, 200), (-1, 1), (i64::MIN, i64::MAX)]
        {
            let pattern = pattern(start, end).map(|pattern| regex_lite::Regex::new(&format!("^(?:{pattern})$")).unwrap());
            for number in -1_300..1_300_i64 {
                let holds = |text: &str| pattern.as_ref().is_some_and(|pattern| pattern.is_match(text));
                assert_eq!(holds(&number.to_string()), (start..end).contains(&number), "{number} of {start}..{end}");
            }
            if let Some(pattern) = &pattern {
                assert_eq!(pattern.is_match("+007"), (start..end).contains(&7));
                assert_eq!(pattern.is_match("-0"), (start..end).contains(&0));
                assert!(!pattern.is_match("") && !pattern.is_match("x") && !pattern.is_match("1e0") && !pattern.is_match("--1"));
            }
        }
    }
}
