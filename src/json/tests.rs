use std::mem::size_of;

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn accepts(body: &[u8]) -> bool {
    parse(body).is_ok()
}

macro_rules! accepted {
    ($($name:ident: $body:expr => $wanted:literal;)*) => {
        $(#[test] fn $name() { assert_eq!(accepts($body), $wanted); })*
    };
}

accepted! {
    every_kind_of_value: br#"{"a":[null,true,false,0,"x",{},[]]}"# => true;
    white_space_around_every_token: b" \t\r\n{ \"a\" : [ 1 , 2 ] , \"b\" : { } , \"c\" : [ ] } " => true;
    other_white_space: b"\x0c1" => false;
    a_space_that_only_unicode_knows: "\u{a0}1".as_bytes() => false;
    a_value_that_is_no_object: b"7" => true;
    nothing: b"" => false;
    white_space_alone: b" \n" => false;
    two_values: b"1 2" => false;
    a_bracket_too_many: b"[1]]" => false;
    a_comma_at_the_end: b"[1,]" => false;
    a_comma_after_the_last_member: br#"{"a":1,}"# => false;
    a_comma_at_the_start: b"[,1]" => false;
    a_comma_alone: b"[,]" => false;
    a_comma_alone_in_an_object: b"{,}" => false;
    no_comma: b"[1 2]" => false;
    no_colon: br#"{"a" 1}"# => false;
    a_key_without_a_value: br#"{"a":}"# => false;
    a_key_that_is_no_string: b"{1:1}" => false;
    a_list_closed_as_an_object: b"[1}" => false;
    an_object_closed_as_a_list: br#"{"a":1]"# => false;
    a_member_in_a_list: br#"["a":1]"# => false;
    an_open_list: b"[1" => false;
    an_open_object: br#"{"a":1"# => false;
    an_open_string: br#""a"# => false;
    a_string_that_ends_in_an_escape: br#""a\"# => false;
    a_comment: b"1 /* one */" => false;
    single_quotes: b"'a'" => false;
    a_word_cut_off: b"nul" => false;
    a_word_with_more: b"nulll" => false;
    a_word_in_capitals: b"True" => false;
    no_number: b"NaN" => false;
    infinity: b"-Infinity" => false;
    minus_zero: b"-0" => true;
    minus_alone: b"-" => false;
    plus: b"+1" => false;
    a_leading_zero: b"01" => false;
    a_leading_zero_after_minus: b"-01" => false;
    a_fraction_without_digits: b"1." => false;
    a_fraction_alone: b".5" => false;
    an_exponent_without_digits: b"1e+" => false;
    an_exponent_with_a_fraction: b"1e5.0" => false;
    every_part_of_a_number: b"-120.045E+0099" => true;
    a_number_beyond_a_double: b"1e999999999999" => true;
    hexadecimal: b"0x10" => false;
    every_escape: br#""\"\\\/\b\f\n\r\t\u00e9\uD834\uDD1E""# => true;
    an_unknown_escape: br#""\x41""# => false;
    an_escape_with_three_digits: br#""\u041""# => false;
    an_escape_with_a_sign: br#""\u+041""# => false;
    half_a_pair_at_the_end: br#""\ud800""# => false;
    half_a_pair_before_text: br#""\ud800a""# => false;
    half_a_pair_before_another_escape: br#""\ud800\n""# => false;
    half_a_pair_before_a_character: br#""\ud800\u0041""# => false;
    two_first_halves: br#""\ud800\ud800""# => false;
    a_second_half_alone: br#""\udc00""# => false;
    a_second_half_before_the_first: br#""\udc00\ud800""# => false;
    half_a_pair_in_a_key: br#"{"\ud800":1}"# => false;
    a_control_character_in_a_string: b"\"a\nb\"" => false;
    nul_in_a_string: b"\"\0\"" => false;
    del_in_a_string: b"\"\x7f\"" => true;
    bytes_that_are_not_utf8: b"\"\xff\"" => false;
    a_surrogate_as_bytes: b"\"\xed\xa0\x80\"" => false;
    utf16: b"\xff\xfe1\0" => false;
    a_byte_order_mark: b"\xef\xbb\xbf{}" => true;
    a_byte_order_mark_alone: b"\xef\xbb\xbf" => false;
    two_byte_order_marks: b"\xef\xbb\xbf\xef\xbb\xbf1" => false;
    a_byte_order_mark_after_space: b" \xef\xbb\xbf1" => false;
    repeated_keys: br#"{"a":1,"a":2}"# => true;
}

fn nested(depth: usize) -> String {
    let objects = depth / 2;
    let lists = depth - objects;
    format!("{}{}1{}{}", "[".repeat(lists), r#"{"a":"#.repeat(objects), "}".repeat(objects), "]".repeat(lists))
}

#[test]
fn nesting_is_bounded() {
    assert!(accepts(nested(MAX_DEPTH).as_bytes()));
    assert!(!accepts(nested(MAX_DEPTH + 1).as_bytes()));
    assert!(accepts(format!("[{0},{0}]", nested(MAX_DEPTH - 1)).as_bytes()));
    assert!(!accepts("[".repeat(1 << 20).as_bytes()));
}

#[test]
fn the_tape_takes_at_most_six_times_the_text() {
    assert_eq!(size_of::<Token>(), 12);
    let dense = [
        format!("[{}0]", "0,".repeat(100_000)),
        format!("[{}[]]", "[],".repeat(100_000)),
        format!("[{}[0]]", "[0],".repeat(100_000)),
        format!("[{}0]", r#"{"":0},"#.repeat(100_000)),
        format!(r#"{{{}"":0}}"#, r#""":0,"#.repeat(100_000)),
        nested(MAX_DEPTH),
        "0".to_owned(),
    ];
    for text in dense {
        let tape = parse(text.as_bytes()).unwrap().index.tokens.capacity() * size_of::<Token>();
        assert!(tape <= 6 * text.len() + 24, "{tape} bytes for {} of {:?}", text.len(), text.get(..20));
    }
}

macro_rules! pointed {
    ($($name:ident: $body:literal, $segments:expr => $wanted:expr;)*) => {
        $(#[test] fn $name() {
            let segments: &[&str] = &$segments;
            let wanted: Option<&str> = $wanted;
            assert_eq!(parse($body.as_bytes()).unwrap().root().at(segments).map(|node| node.written()), wanted);
        })*
    };
}

pointed! {
    the_whole: " [1, 2] ", [] => Some("[1, 2]");
    the_whole_after_a_byte_order_mark: "\u{feff} [1, 2] ", [] => Some("[1, 2]");
    a_member: r#"{"a":1,"b":{"c":-1.50e+2}}"#, ["b", "c"] => Some("-1.50e+2");
    a_key_that_is_missing: r#"{"a":1}"#, ["b"] => None;
    a_key_of_a_value_inside: r#"{"a":{"b":1}}"#, ["b"] => None;
    the_empty_key: r#"{"":1}"#, [""] => Some("1");
    a_key_with_the_pointer_s_own_signs: r#"{"a/b~c":1}"#, ["a/b~c"] => Some("1");
    a_star_is_a_key: r#"{"*":1}"#, ["*"] => Some("1");
    a_star_is_no_other_key: r#"{"a":1}"#, ["*"] => None;
    a_key_written_with_escapes: r#"{"c\u0061rd":1}"#, ["card"] => Some("1");
    a_key_beyond_the_first_plane: r#"{"\ud834\udd1e":1}"#, ["\u{1d11e}"] => Some("1");
    the_last_of_a_repeated_key: r#"{"a":1,"\u0061":2,"b":3}"#, ["a"] => Some("2");
    into_the_last_of_a_repeated_key: r#"{"a":{"b":1},"a":{"c":2}}"#, ["a", "b"] => None;
    an_entry: "[[1],[2,3]]", ["1", "0"] => Some("2");
    an_entry_beyond_the_end: "[1]", ["1"] => None;
    the_entry_after_the_last: "[1]", ["-"] => None;
    an_index_with_a_leading_zero: "[1,2]", ["01"] => None;
    two_zeros: "[1,2]", ["00"] => None;
    an_index_with_a_sign: "[1,2]", ["+1"] => None;
    an_empty_index: "[1,2]", [""] => None;
    an_index_beyond_all_numbers: "[1,2]", ["99999999999999999999999"] => None;
    a_number_as_a_key: r#"{"01":1}"#, ["01"] => Some("1");
    into_a_string: r#""ab""#, ["0"] => None;
    into_a_number: "12", ["0"] => None;
}

#[test]
fn text_is_what_a_reader_sees() {
    let body = r#"["a\tb\u00e9\\",null,true,12345678901234567890123, {"a": 1}, "é", "\ud834\udd1e"]"#;
    let json = parse(body.as_bytes()).unwrap();
    let texts: Vec<_> = json.root().items().map(|node| node.text()).collect();
    assert_eq!(texts, ["a\tb\u{e9}\\", "", "true", "12345678901234567890123", r#"{"a": 1}"#, "é", "\u{1d11e}"]);
}

#[test]
fn a_string_without_escapes_is_borrowed() {
    let json = parse(br#""plain""#).unwrap();
    assert!(matches!(json.root().text(), Cow::Borrowed("plain")));
}

#[test]
fn all_members_are_kept() {
    let json = parse(br#"{"a":1,"b":{"x":[]},"a":2}"#).unwrap();
    let members: Vec<_> = json.root().members().map(|(key, value)| (key.text(), value.written())).collect();
    assert_eq!(members, [("a".into(), "1"), ("b".into(), r#"{"x":[]}"#), ("a".into(), "2")]);
    assert_eq!(json.root().items().count(), 0);
}

#[test]
fn compact_is_as_written_on_one_line() {
    let json = parse(b"\xef\xbb\xbf { \"a b\" :\n[ 1.50 , \"\\\" x \\u0020\\\\\" ],\t\"a b\" : { } }\r\n").unwrap();
    let mut out = b"> ".to_vec();
    json.root().write_compact(&mut out);
    assert_eq!(String::from_utf8(out).unwrap(), r#"> {"a b":[1.50,"\" x \u0020\\"],"a b":{}}"#);
}

#[test]
fn strings_are_found_wherever_they_begin_and_end() {
    for before in 0..70 {
        for inside in 0..140 {
            let text =
                |end: &str| format!("[\n{}\"{}{end}\"]", " ".repeat(before), "é".repeat(inside / 2) + &"x".repeat(inside % 2));
            let plain = text("");
            let out = compact(plain.as_bytes()).unwrap();
            assert_eq!(String::from_utf8_lossy(&out), plain.replace(['\n', ' '], ""), "{plain}");
            assert!(compact(text("\\\"").as_bytes()).is_ok(), "an escaped quote at {before} + {inside}");
            assert!(compact(text("\\").as_bytes()).is_err(), "an escaped end at {before} + {inside}");
            assert!(compact(text("\u{1f}").as_bytes()).is_err(), "a control character at {before} + {inside}");
        }
    }
}

/// The value as serde_json represents it.
fn value(node: Node<'_>) -> Value {
    match node.kind() {
        Kind::Null => Value::Null,
        Kind::Bool(value) => Value::Bool(value),
        Kind::Number(text) => Value::Number(text.parse().unwrap()),
        Kind::String(text) => Value::String(text.into_owned()),
        Kind::Array(items) => items.map(value).collect(),
        Kind::Object(members) => members.map(|(key, node)| (key.text().into_owned(), value(node))).collect(),
    }
}

/// Checks that serde_json accepts the same bodies, except for intended differences.
fn agrees(body: &[u8]) -> Result<(), TestCaseError> {
    let ours = parse(body);
    match serde_json::from_slice::<Value>(body) {
        Ok(theirs) => prop_assert_eq!(ours.map(|json| value(json.root())), Ok(theirs)),
        Err(error) => {
            let meant = error.to_string().starts_with("number out of range") || body.starts_with(b"\xef\xbb\xbf");
            prop_assert!(meant || ours.is_err(), "{}: {:?}", error, String::from_utf8_lossy(body));
        }
    }
    Ok(())
}

pub(crate) fn documents() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[a-c\"\\\\/\u{0}-\u{1f}é\u{1d11e}]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec(("[a-c]{0,2}|.{0,3}", inner), 0..6).prop_map(|members| members.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn documents_are_read_as_serde_json_reads_them(document in documents(), pretty: bool) {
        let body = if pretty { serde_json::to_vec_pretty(&document) } else { serde_json::to_vec(&document) }.unwrap();
        agrees(&body)?;
        let json = parse(&body).unwrap();
        let mut compact = Vec::new();
        json.root().write_compact(&mut compact);
        prop_assert_eq!(compact, serde_json::to_vec(&document).unwrap());
        prop_assert_eq!(&body[json.root().span()], &body[..]);
    }

    #[test]
    fn what_is_almost_json_is_judged_as_serde_json_judges_it(
        document in documents(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0..3, r#"[\[\]{}:,"\\0-9eE.+u a-f\n-]|\PC"#), 1..4),
    ) {
        let mut body = serde_json::to_vec(&document).unwrap();
        for (at, change, piece) in changes {
            let at = at.index(body.len() + 1);
            let end = if change == 0 { at } else { (at + 1).min(body.len()) };
            body.splice(at..end, if change == 2 { Vec::new() } else { piece.into_bytes() });
        }
        agrees(&body)?;
    }

    #[test]
    fn tokens_in_any_order_are_judged_as_serde_json_judges_them(
        tokens in prop::collection::vec(prop::sample::select(&TOKENS[..]), 0..12),
    ) {
        agrees(tokens.concat().as_bytes())?;
    }

    #[test]
    fn strings_in_any_spelling_are_judged_as_serde_json_judges_them(
        pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..8),
    ) {
        agrees(format!("\"{}\"", pieces.concat()).as_bytes())?;
    }

    #[test]
    fn numbers_in_any_spelling_are_judged_as_serde_json_judges_them(number in "-{0,2}[0-9]{0,2}[.0-9]{0,3}[eE]{0,1}[+-]{0,2}[0-9]{0,2}") {
        agrees(number.as_bytes())?;
    }

    #[test]
    fn bytes_in_any_order_are_judged_as_serde_json_judges_them(body in prop::collection::vec(any::<u8>(), 0..40)) {
        agrees(&body)?;
    }
}

const TOKENS: [&str; 16] =
    ["[", "]", "{", "}", ",", ":", "\"a\"", "\"\"", "1", "-0.5e3", "null", "true", "false", " ", "[]", "\"a\":"];
const PIECES: [&str; 16] = [
    "a",
    "é",
    "\\u",
    "\\ud834",
    "\\udd1e",
    "\\uD834\\uDD1E",
    "\\n",
    "\\\\",
    "\\\"",
    "\\/",
    "\\",
    "00e9",
    "\\u0000",
    "\u{1}",
    "\\ud8",
    "\u{ffff}",
];

/// Checks that pointers found together find the same values as one by one.
fn found_together(text: &str, pointers: &[Vec<String>]) {
    let places = PointerSet::new(pointers.iter().cloned().map(crate::json::Pointer));
    let work = Work::unbounded();
    let index = read(text, &work).unwrap();
    let root = index.root(text);
    let found = places.find(root, &work);
    for pointer in pointers {
        let together = places.number(pointer).and_then(|number| found[number]).and_then(|place| index.node(text, place));
        let alone = root.at(pointer);
        let told = |node: Option<Node<'_>>| node.map(|node| (node.span(), node.place()));
        assert_eq!(told(together), told(alone), "{pointer:?} in {text}");
    }
}

#[test]
fn pointers_are_found_together_as_each_is_alone() {
    let text = r#"{"a":{"b":1},"1":[5,6],"\u0061":{"c":[{"b":2},7]},"":{"":0},"x":[[1],{"0":2}]}"#;
    let pointers =
        ["", "/a", "/a/b", "/a/c/0/b", "/a/c/1", "/1", "/1/1", "/1/01", "/1/2", "/", "//", "/x/0/0", "/x/1/0", "/x/-", "/b"];
    let split = |pointer: &&str| pointer.split('/').skip(1).map(str::to_owned).collect();
    found_together(text, &pointers.iter().map(split).collect::<Vec<_>>());
}

proptest! {
    #[test]
    fn any_pointers_are_found_together_as_each_is_alone(
        document in documents(),
        pointers in prop::collection::vec(prop::collection::vec("[a-c0-2]{0,2}", 0..4), 1..12),
    ) {
        found_together(&document.to_string(), &pointers);
    }
}
