//! Bodies of answers: expressions see of them what they would see of the same body of a request.

use serde_json::json;
use sidecast::rewrite::shape::Unfit;

use crate::choices::Choices;
use crate::document::{pointers, spelled, Doc, NUMBERS};
use crate::encodings::encoded;
use crate::hold;
use crate::redaction::plant;
use crate::request::{configured, sent_after, Request};
use crate::shaping::holds_secret;

fn law(choices: &mut Choices<'_>) {
    let mut doc = Doc::any(choices, &NUMBERS);
    let redact = pointers(choices, &doc, 2);
    doc.change(&redact, &mut |value| plant(choices, value));
    let pointer = spelled(choices.one_of::<Vec<String>>(&doc.ways()));
    let pointer = if pointer.contains(['*', '}']) { String::new() } else { pointer };
    let text = doc.write(choices).text;
    let (coding, mut body) = encoded(choices, text.as_bytes());
    let is_damaged = choices.once_in(6);
    if is_damaged {
        choices.damage(&mut body, 2);
    }
    // Of a request, text alone is not decoded.
    let reads_text = choices.once_in(3);
    let batched = choices.once_in(3);
    let template = |of: &str| {
        let body = format!("{of}body");
        let text = if reads_text { format!("${{{body}_text}}") } else { String::new() };
        json!({"one": format!("${{{body}:{pointer}}}"), "whole": format!("${{{body}}}"), "text": format!("<{text}${{{body}:{pointer}}}>")})
    };
    let redact: Vec<String> = redact.iter().map(|pointer| spelled(pointer)).collect();
    let target = |request, response| {
        let mut target = json!({"name": "audit", "cluster": "c", "after": "response", "request": request, "response": response});
        if batched {
            target["batch"] = json!({"format": "ndjson"});
        }
        configured(json!([target]))
    };
    let of_request = target(json!({"body": {"redact": redact, "template": template("")}}), json!(null));
    let of_answer = target(json!({"body": {"template": template("response:")}}), json!({"redact": redact}));

    let headers = |coding: &str| {
        let pairs = [(":method", "PUT"), (":path", "/"), ("content-encoding", coding)];
        pairs.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).to_vec()
    };
    let asking = Request { headers: headers(coding), body: body.clone(), answered: Vec::new() };
    let waiting = Request { headers: headers(""), body: Vec::new(), answered: headers(coding) };
    let expected = sent_after(&of_request, &asking, b"", batched);
    let sent = sent_after(&of_answer, &waiting, &body, batched);
    match (expected, sent) {
        (Ok((_, expected)), Ok((_, sent))) => {
            assert_eq!(String::from_utf8_lossy(&sent), String::from_utf8_lossy(&expected), "{redact:?} of {text}");
            assert!(is_damaged || redact.is_empty() || !holds_secret(&sent), "{}", String::from_utf8_lossy(&sent));
        }
        (Err(Unfit::BodyNotJson), Err(Unfit::ResponseNotJson)) => assert!(is_damaged, "{text} is JSON"),
        (Err(Unfit::BodyNotJson), Err(Unfit::ResponseTooLarge)) => assert!(is_damaged && coding != "identity"),
        // The text of an empty body is empty or absent: inside other text that is the same.
        (expected, sent) => panic!("{expected:?} and {sent:?} of {text}"),
    }
}

#[test]
fn expressions_see_of_an_answer_what_they_see_of_a_request() {
    hold(512, law);
}
