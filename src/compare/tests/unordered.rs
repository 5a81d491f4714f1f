//! Lists whose order does not matter.

use super::*;

cases! {
    another_order: r#"{"unordered":["/tags"]}"#, r#"{"tags":["a","b","c"]}"#, r#"{"tags":["c","a","b"]}"# => "=";
    the_order_of_other_lists_matters: r#"{"unordered":["/tags"]}"#, r#"{"tags":[1,2],"a":[1,2]}"#, r#"{"tags":[2,1],"a":[2,1]}"# =>
        "Value /a/0, Value /a/1";
    the_whole_is_a_list: r#"{"unordered":[""]}"#, r#"[{"id":1},{"id":2}]"#, r#"[{"id":2},{"id":1}]"# => "=";
    every_entry_counts_as_often_as_it_is_there: r#"{"unordered":[""]}"#, "[1,1,2]", "[1,2,2]" => "MissingInTarget /1, MissingInPrimary /2";
    an_entry_that_one_side_lacks: r#"{"unordered":[""]}"#, "[3,1,2]", "[2,3]" => "MissingInTarget /1";
    an_entry_that_the_other_side_lacks: r#"{"unordered":[""]}"#, "[3,2]", "[2,1,3]" => "MissingInPrimary /1";
    nothing_on_one_side: r#"{"unordered":[""]}"#, "[]", "[null]" => "MissingInPrimary /0";
    numbers_by_what_they_are_worth: r#"{"unordered":[""]}"#, "[1,2.50,1e2]", "[100.0,1.0,2.5]" => "=";
    strings_however_they_are_written: r#"{"unordered":[""]}"#, r#"["a","b"]"#, r#"["\u0062","\u0061"]"# => "=";
    a_number_and_its_text_differ: r#"{"unordered":[""]}"#, "[1]", r#"["1"]"# => "MissingInTarget /0, MissingInPrimary /0";
    null_false_zero_and_nothing_differ: r#"{"unordered":[""]}"#, r#"[null,false,0,"",[],{}]"#, r#"[{},[],"",0,false,null]"# => "=";
    members_of_entries_in_any_order: r#"{"unordered":[""]}"#, r#"[{"a":1,"b":2},3]"#, r#"[3,{"b":2,"a":1}]"# => "=";
    the_last_of_a_repeated_key_of_an_entry: r#"{"unordered":[""]}"#, r#"[{"a":1,"a":2},3]"#, r#"[3,{"a":2}]"# => "=";
    lists_inside_have_their_order: r#"{"unordered":[""]}"#, "[[1,2],[3]]", "[[3],[2,1]]" => "MissingInTarget /0, MissingInPrimary /1";
    lists_inside_without_an_order: r#"{"unordered":["","/*"]}"#, "[[1,2],[3]]", "[[3],[2,1]]" => "=";
    lists_deep_inside_without_an_order: r#"{"unordered":["/a","/a/*/b"]}"#,
        r#"{"a":[{"b":[1,2],"c":[1,2]},{"b":[]}]}"#, r#"{"a":[{"b":[]},{"c":[1,2],"b":[2,1]}]}"# => "=";
    lists_inside_of_a_list_with_an_order: r#"{"unordered":["/*"]}"#, "[[1,2],[3]]", "[[2,1],[3]]" => "=";
    what_is_around_two_lists_does_not_run_together: r#"{"unordered":["","/*"]}"#, "[[1],[2,3]]", "[[1,2],[3]]" =>
        "MissingInTarget /0, MissingInTarget /1, MissingInPrimary /0, MissingInPrimary /1";
    an_ignored_member_of_every_entry: r#"{"unordered":["/i"],"ignore":["/i/*/id"]}"#,
        r#"{"i":[{"id":1,"n":1},{"id":2,"n":2}]}"#, r#"{"i":[{"n":2},{"id":9,"n":1}]}"# => "=";
    what_is_left_of_entries_counts_as_often_as_it_is_there: r#"{"unordered":["/i"],"ignore":["/i/*/id"]}"#,
        r#"{"i":[{"id":1,"n":1},{"id":2,"n":1}]}"#, r#"{"i":[{"id":1,"n":1}]}"# => "MissingInTarget /i/1";
    an_ignored_list: r#"{"unordered":["/i"],"ignore":["/i"]}"#, r#"{"i":[1]}"#, r#"{"i":[2,3]}"# => "=";
    ignored_entries: r#"{"unordered":[""],"ignore":["/*"]}"#, "[1,2]", "[3]" => "=";
    an_ignored_place_of_a_list_inside: r#"{"unordered":[""],"ignore":["/*/0"]}"#, "[[9,1],[9,2]]", "[[8,2],[7,1]]" => "=";
    a_pointer_to_what_is_no_list: r#"{"unordered":["/a"]}"#, r#"{"a":{"b":[1,2]}}"#, r#"{"a":{"b":[2,1]}}"# => "Value /a/b/0, Value /a/b/1";
    a_list_and_something_else: r#"{"unordered":["/a"]}"#, r#"{"a":[1]}"#, r#"{"a":{"0":1}}"# => "Type /a";
    more_than_are_told: r#"{"unordered":[""]}"#, "[1,2,3,4,5,6]", "[7,8,9,10,11,12]" =>
        "MissingInTarget /0, MissingInTarget /1, MissingInTarget /2, MissingInTarget /3, MissingInTarget /4, MissingInTarget /5, \
         MissingInPrimary /0, MissingInPrimary /1, MissingInPrimary /2, MissingInPrimary /3";
}

#[test]
fn values_are_told_if_they_may_be() {
    let verdict = compared(&settings(r#"{"unordered":[""],"log_values":true}"#), b"[1, {\"a\": 2}]", b"[3,1]");
    let differences = json!([
        {"pointer": "/1", "kind": "missing_in_target", "primary": "{\"a\":2}"},
        {"pointer": "/0", "kind": "missing_in_primary", "target": "3"},
    ]);
    assert_eq!(serde_json::to_value(verdict).unwrap(), json!({"result": "body_mismatch", "differences": differences}));
}

/// One step for each pair of entries would make 10^10 steps.
#[test]
fn a_hundred_thousand_entries_take_no_step_for_each_pair() {
    let list = |entries: &mut dyn Iterator<Item = u32>| {
        let entries: Vec<String> = entries.map(|entry| format!("[{entry},[{}]]", entry % 7)).collect();
        format!("[{}]", entries.join(","))
    };
    let (forth, back) = (list(&mut (0..100_000)), list(&mut (0..100_000).rev()));
    let settings = settings(r#"{"unordered":["","/*/1"]}"#);
    let verdict = |target: &str| {
        compare(
            &settings,
            &response("application/json", forth.as_bytes()),
            &response("application/json", target.as_bytes()),
            1 << 24,
        )
    };
    assert_eq!(verdict(&back), Verdict::Match);
    let other = list(&mut (1..100_001).rev());
    assert!(matches!(verdict(&other), Verdict::BodyMismatch(differences) if differences.told().len() == 2));
}

#[test]
fn lists_may_be_nested_as_deeply_as_json_may() {
    let pointers: Vec<String> = (0..MAX_DEPTH).map(|depth| "/*".repeat(depth)).collect();
    let settings = settings(&json!({ "unordered": pointers }).to_string());
    let nested =
        |entries: [&str; 2]| {
            let [start, end] = [format!("[{},", entries[0]), format!(",{}]", entries[1])];
            (1..MAX_DEPTH).fold("[]".to_owned(), |inner, level| {
                if level % 2 == 0 {
                    format!("{start}{inner}]")
                } else {
                    format!("[{inner}{end}")
                }
            })
        };
    assert_eq!(told(&settings, nested(["1", "1"]).as_bytes(), nested(["1", "1.0"]).as_bytes()), "=");
    assert_ne!(told(&settings, nested(["1", "1"]).as_bytes(), nested(["1", "2"]).as_bytes()), "=");
}

/// The value with all lists sorted.
fn in_order(value: &Value) -> Value {
    match value {
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(in_order).collect();
            items.sort_by_key(Value::to_string);
            Value::Array(items)
        }
        Value::Object(members) => members.iter().map(|(key, value)| (key.clone(), in_order(value))).collect(),
        other => other.clone(),
    }
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|flag| json!(flag)),
        (0..3).prop_map(|number| json!(number)),
        Just(json!("a"))
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map("[ab]", inner, 0..3).prop_map(|members| members.into_iter().collect()),
        ]
    })
}

/// The value with the entries of all lists shuffled, as `random` decides.
fn shuffled(value: &Value, random: u64) -> Value {
    match value {
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(|item| shuffled(item, random)).collect();
            let start = (random % (items.len() as u64 + 1)) as usize;
            items.rotate_left(start);
            if random & 64 > 0 {
                items.reverse();
            }
            Value::Array(items)
        }
        Value::Object(members) => members.iter().map(|(key, value)| (key.clone(), shuffled(value, random))).collect(),
        other => other.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_096))]

    #[test]
    fn without_any_order_values_match_exactly_if_their_sorted_forms_do(ours in values(), theirs in values(), random: u64) {
        let pointers: Vec<String> = (0..8).map(|depth| "/*".repeat(depth)).collect();
        let settings = settings(&json!({ "unordered": pointers }).to_string());
        let matches = |ours: &Value, theirs: &Value| {
            compared(&settings, ours.to_string().as_bytes(), theirs.to_string().as_bytes()) == Verdict::Match
        };
        prop_assert!(matches(&ours, &shuffled(&ours, random)), "{} {}", ours, shuffled(&ours, random));
        prop_assert_eq!(matches(&ours, &theirs), in_order(&ours) == in_order(&theirs), "{} {}", ours, theirs);
    }
}
