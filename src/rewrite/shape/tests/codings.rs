//! Bodies with a content coding, and values of a body in a header or a path.

use std::io::Write;

use flate2::write::{GzEncoder, ZlibEncoder};
use flate2::Compression;

use super::*;

const PLAIN: &[u8] = br#"{"card":"4111","n":1.50}"#;

pub(super) fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn deflate(body: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

/// The headers that describe the sent body, and the body.
type Outcome = Result<(Vec<String>, Vec<u8>), Unfit>;

fn coded(request: &str, coding: &str, body: &[u8]) -> Outcome {
    let headers: [(&str, &[u8]); 6] = [
        (":method", b"POST"),
        (":path", b"/o"),
        (":authority", b"a"),
        ("content-type", b"application/vnd.shop+json"),
        ("content-encoding", coding.as_bytes()),
        ("content-md5", b"x"),
    ];
    let (sent, body) = call(&asking(request), &headers, body)?;
    let described = sent.into_iter().filter(|(name, _)| name.starts_with("content-"));
    Ok((described.map(|(name, value)| format!("{name}={}", String::from_utf8(value).unwrap())).collect(), body))
}

fn decoded(body: &str) -> Outcome {
    Ok((vec!["content-type=application/vnd.shop+json".to_owned()], body.as_bytes().to_vec()))
}

fn json(body: &str) -> Outcome {
    Ok((vec!["content-type=application/json".to_owned()], body.as_bytes().to_vec()))
}

fn as_it_came(coding: &str, body: &[u8]) -> Outcome {
    let headers =
        ["content-type=application/vnd.shop+json".to_owned(), format!("content-encoding={coding}"), "content-md5=x".to_owned()];
    Ok((headers.to_vec(), body.to_vec()))
}

const REDACT: &str = r#"{"body":{"redact":["/card"]}}"#;
const OF_NOTHING_THERE: &str = r#"{"body":{"redact":["/none"]}}"#;
const TEMPLATE: &str = r#"{"body":{"template":{"n":"${body:/n}"}}}"#;
const TEXT: &str = r#"{"body":{"template":"${body_base64}"}}"#;
const PATH: &str = r#"{"path":"/n/${body:/n}"}"#;
const OMIT: &str = r#"{"path":"/n/${body:/n}","body":{"omit":true}}"#;
const HEADER: &str = r#"{"headers":{"set":{"x-n":"${body_text}"}}}"#;

macro_rules! coded {
    ($($name:ident: $request:expr, $coding:literal, $body:expr => $wanted:expr;)*) => {
        $(#[test] fn $name() { assert_eq!(coded($request, $coding, $body), $wanted); })*
    };
}

coded! {
    redaction_of_gzip: REDACT, "gzip", &gzip(PLAIN) => decoded(r#"{"card":"[redacted]","n":1.50}"#);
    redaction_of_gzip_by_its_old_name: REDACT, "x-GZIP", &gzip(PLAIN) => decoded(r#"{"card":"[redacted]","n":1.50}"#);
    redaction_of_deflate: REDACT, "deflate", &deflate(PLAIN) => decoded(r#"{"card":"[redacted]","n":1.50}"#);
    redaction_of_identity: REDACT, "identity", PLAIN => decoded(r#"{"card":"[redacted]","n":1.50}"#);
    redaction_of_nothing_that_is_there: OF_NOTHING_THERE, "gzip", &gzip(PLAIN) => decoded(r#"{"card":"4111","n":1.50}"#);
    a_template_of_gzip: TEMPLATE, "gzip", &gzip(PLAIN) => json(r#"{"n":1.50}"#);
    a_template_of_deflate: TEMPLATE, "deflate", &deflate(PLAIN) => json(r#"{"n":1.50}"#);
    a_path_of_gzip: PATH, "gzip", &gzip(PLAIN) => as_it_came("gzip", &gzip(PLAIN));
    a_path_of_deflate: PATH, "deflate", &deflate(PLAIN) => as_it_came("deflate", &deflate(PLAIN));
    a_path_of_gzip_whose_body_is_left_out: OMIT, "gzip", &gzip(PLAIN) => Ok((vec![], vec![]));
    text_that_is_not_read_as_json_is_not_decoded: TEXT, "br", b"\x0b" => json(r#""Cw==""#);
    brotli_that_nobody_reads: HEADER, "br", b"\x0b" => as_it_came("br", b"\x0b");
    brotli_to_be_redacted: REDACT, "br", b"\x0b\x02\x80abc\x03" => Err(Unfit::BodyNotJson);
    brotli_in_a_template: TEMPLATE, "br", b"\x0b\x02\x80abc\x03" => Err(Unfit::BodyNotJson);
    brotli_in_a_path: PATH, "br", b"\x0b\x02\x80abc\x03" => Err(Unfit::BodyNotJson);
    brotli_that_is_none: REDACT, "br", PLAIN => Err(Unfit::BodyNotJson);
    an_unknown_coding: REDACT, "aes128gcm", PLAIN => Err(Unfit::BodyNotJson);
    two_codings: REDACT, "gzip, gzip", &gzip(&gzip(PLAIN)) => Err(Unfit::BodyNotJson);
    gzip_twice_that_is_called_that_once: REDACT, "gzip", &gzip(&gzip(PLAIN)) => Err(Unfit::BodyNotJson);
    gzip_that_is_none: REDACT, "gzip", PLAIN => Err(Unfit::BodyNotJson);
    gzip_that_is_not_called_that: REDACT, "identity", &gzip(PLAIN) => Err(Unfit::BodyNotJson);
    gzip_called_deflate: TEMPLATE, "deflate", &gzip(PLAIN) => Err(Unfit::BodyNotJson);
    gzip_cut_off: PATH, "gzip", &gzip(PLAIN)[..20] => Err(Unfit::BodyNotJson);
    gzip_of_what_is_no_json: REDACT, "gzip", &gzip(b"text") => Err(Unfit::BodyNotJson);
    gzip_of_nothing: REDACT, "gzip", &gzip(b"") => Err(Unfit::BodyNotJson);
    nothing_called_gzip: REDACT, "gzip", b"" => decoded("");
    nothing_called_brotli: TEMPLATE, "br", b"" => json(r#"{"n":null}"#);
    a_type_that_is_set_for_what_is_redacted: r#"{"headers":{"set":{"content-type":"text/x"}},"body":{"redact":["/card"]}}"#, "gzip", &gzip(PLAIN) =>
        Ok((vec!["content-type=text/x".to_owned()], br#"{"card":"[redacted]","n":1.50}"#.to_vec()));
    an_encoding_that_is_set_is_sent: r#"{"headers":{"set":{"content-encoding":"aes"}},"body":{"redact":["/card"]}}"#, "gzip", &gzip(b"1") =>
        Ok((vec!["content-type=application/vnd.shop+json".to_owned(), "content-encoding=aes".to_owned()], b"1".to_vec()));
    a_type_that_is_removed: r#"{"headers":{"remove":["content-type"]},"body":{"template":1}}"#, "gzip", b"" => Ok((vec![], b"1".to_vec()));
    both_halves_of_a_pair_are_escaped: REDACT, "", br#"{"card":"\ud83d\ude00"}"# => Ok((vec!["content-type=application/vnd.shop+json".to_owned()], br#"{"card":"[redacted]"}"#.to_vec()));
    half_a_pair: REDACT, "", br#"{"card":"\ud83d"}"# => Err(Unfit::BodyNotJson);
    a_byte_order_mark: REDACT, "", b"\xef\xbb\xbf{\"card\":1}" => decoded("\u{feff}{\"card\":\"[redacted]\"}");
    a_byte_order_mark_in_gzip: TEMPLATE, "gzip", &gzip(b"\xef\xbb\xbf{\"n\":1e999}") => json(r#"{"n":1e999}"#);
    all_of_a_repeated_key: REDACT, "", br#"{"card":1,"card":2}"# => decoded(r#"{"card":"[redacted]","card":"[redacted]"}"#);
}

#[test]
fn of_two_headers_with_codings_the_first_is_undone_and_none_is_sent() {
    let sent = |codings: [&'static str; 2], body: &[u8]| {
        let headers =
            [(":path", &b"/"[..]), ("content-encoding", codings[0].as_bytes()), ("content-encoding", codings[1].as_bytes())];
        let (headers, body) = call(&asking(REDACT), &headers, body)?;
        assert_eq!(value(&headers, "content-encoding"), None);
        Ok(body)
    };
    let redacted = br#"{"card":"[redacted]","n":1.50}"#.to_vec();
    assert_eq!(sent(["gzip", "identity"], &gzip(PLAIN)), Ok(redacted));
    assert_eq!(sent(["identity", "gzip"], &gzip(PLAIN)), Err(Unfit::BodyNotJson));
    assert_eq!(sent(["gzip", "gzip"], &gzip(&gzip(PLAIN))), Err(Unfit::BodyNotJson));
}

#[test]
fn nesting_is_read_up_to_its_bound_and_no_deeper() {
    for (depth, wanted) in [(128, true), (129, false)] {
        let body = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(coded(REDACT, "gzip", &gzip(body.as_bytes())).is_ok(), wanted, "{depth}");
        assert_eq!(coded(PATH, "", body.as_bytes()).is_ok(), wanted, "{depth}");
        let template = coded(r#"{"body":{"template":"${body}"}}"#, "", body.as_bytes());
        assert_eq!(template, if wanted { json(&body) } else { Err(Unfit::BodyNotJson) });
    }
}

#[test]
fn a_body_may_be_decoded_to_as_much_as_a_body_may_have() {
    // The limit in these tests is 1 MiB.
    for (length, wanted) in [((1 << 20) - 2, true), ((1 << 20) - 1, false), (1 << 26, false)] {
        let bomb = gzip(format!("\"{}\"", " ".repeat(length)).as_bytes());
        assert!(bomb.len() < 1 << 17);
        assert_eq!(coded(OF_NOTHING_THERE, "gzip", &bomb).map(|_| ()), if wanted { Ok(()) } else { Err(Unfit::BodyNotJson) });
        assert!(coded(HEADER, "gzip", &bomb).is_ok(), "nobody reads it");
    }
}

/// What is sent of a text from the body: once as a header value and once in a path.
fn placed(text: &str) -> (String, String) {
    let body = serde_json::json!({ "a": text }).to_string();
    let request = r#"{"path":"/p/${body:/a}","headers":{"set":{"x-a":"<${body:/a}>"}}}"#;
    let line: [(&str, &[u8]); 3] = [(":method", b"POST"), (":path", b"/o"), (":authority", b"a")];
    let (sent, _) = call(&asking(request), &line, body.as_bytes()).unwrap();
    (value(&sent, "x-a").unwrap().to_owned(), value(&sent, ":path").unwrap().to_owned())
}

macro_rules! placed {
    ($($name:ident: $text:literal => $header:literal, $path:literal;)*) => {
        $(#[test] fn $name() { assert_eq!(placed($text), ($header.to_owned(), $path.to_owned())); })*
    };
}

placed! {
    nothing: "" => "<>", "/p/";
    a_line: "a\r\nx-evil: 1" => "<ax-evil: 1>", "/p/a%0D%0Ax-evil%3A%201";
    a_line_feed_alone: "a\nb" => "<ab>", "/p/a%0Ab";
    a_carriage_return_alone: "a\rb" => "<ab>", "/p/a%0Db";
    nul: "a\0b" => "<ab>", "/p/a%00b";
    escape_and_delete: "a\u{1b}\u{7f}b" => "<ab>", "/p/a%1B%7Fb";
    a_tab: "a\tb" => "<a\tb>", "/p/a%09b";
    a_control_beyond_ascii: "a\u{85}b" => "<a\u{85}b>", "/p/a%C2%85b";
    a_line_separator: "a\u{2028}b" => "<a\u{2028}b>", "/p/a%E2%80%A8b";
    unreserved: "AZaz09-._~" => "<AZaz09-._~>", "/p/AZaz09-._~";
    general_delimiters: ":/?#[]@" => "<:/?#[]@>", "/p/%3A%2F%3F%23%5B%5D%40";
    delimiters_of_parts: "!$&'()*+,;=" => "<!$&'()*+,;=>", "/p/%21%24%26%27%28%29%2A%2B%2C%3B%3D";
    what_has_no_place_in_a_path: " \"<>\\^`{|}" => "< \"<>\\^`{|}>", "/p/%20%22%3C%3E%5C%5E%60%7B%7C%7D";
    what_is_encoded_already: "a%2Fb%" => "<a%2Fb%>", "/p/a%252Fb%25";
    letters_beyond_ascii: "é\u{1f600}" => "<é\u{1f600}>", "/p/%C3%A9%F0%9F%98%80";
    dots: "..-.." => "<..-..>", "/p/..-..";
    an_expression: "${env:TOKEN}" => "<${env:TOKEN}>", "/p/%24%7Benv%3ATOKEN%7D";
}
