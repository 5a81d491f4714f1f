//! The path that a target receives: rendered, rewritten, and never leading elsewhere.

use super::*;

/// The path sent for a request with this path and these headers.
fn path_with(request: &str, path: &str, headers: &[(&str, &[u8])]) -> Result<String, Unfit> {
    let pairs = [&[(":method", &b"GET"[..]), (":path", path.as_bytes()), (":authority", b"shop")], headers].concat();
    let (sent, _) = call(&asking(request), &pairs, b"")?;
    Ok(value(&sent, ":path").unwrap().to_owned())
}

fn path(request: &str, path: &str) -> Result<String, Unfit> {
    path_with(request, path, &[])
}

macro_rules! paths {
    ($($name:ident: $request:literal { $($path:literal => $sent:literal),+ $(,)? })*) => {
        $(#[test] fn $name() {
            $(assert_eq!(path($request, $path).as_deref(), Ok($sent), "{} {}", $request, $path);)+
        })*
    };
}

paths! {
    the_path_goes_as_it_came: r#"{"path":"/v2${path}"}"# {
        "/files/a%20b?page=2" => "/v2/files/a%20b",
        "/files/%2F%e2%82%ac+~!$&'()*,;=:@" => "/v2/files/%2F%e2%82%ac+~!$&'()*,;=:@",
        "/files/é" => "/v2/files/é",
        "/" => "/v2/",
        "//a//" => "/v2//a//",
        "/a?x=/../" => "/v2/a",
    }
    the_query_goes_as_it_came: r#"{"path":"/v2${path}?${query}"}"# {
        "/files/a%20b?page=2" => "/v2/files/a%20b?page=2",
        "/a?q=1+2%263&e=&e&x=%C3%B6?y" => "/v2/a?q=1+2%263&e=&e&x=%C3%B6?y",
        "/a" => "/v2/a",
        "/a?" => "/v2/a",
        "/a?b#c?d" => "/v2/a?b",
    }
    an_empty_query_takes_the_separator_before_it_along: r#"{"path":"/v2?v=2&${query}"}"# {
        "/a?b=1" => "/v2?v=2&b=1",
        "/a" => "/v2?v=2",
    }
    an_empty_query_takes_the_separator_behind_it_along: r#"{"path":"/v2?${query}&v=2"}"# {
        "/a?b=1&c" => "/v2?b=1&c&v=2",
        "/a" => "/v2?v=2",
    }
    in_a_query_the_path_is_a_value: r#"{"path":"/v2?from=${path}&to=1"}"# {
        "/a&to=2" => "/v2?from=/a%26to%3D2&to=1",
        "/a%20b" => "/v2?from=/a%2520b&to=1",
    }
    in_a_path_the_query_is_a_value: r#"{"path":"/v2/${query}/x"}"# {
        "/a?b=/c" => "/v2/b%3D%2Fc/x",
    }
    a_prefix_is_replaced_and_the_query_stays: r#"{"prefix_rewrite":{"prefix":"/v1/","replacement":"/v2/"}}"# {
        "/v1/user/7/ping?page=2&sort=asc" => "/v2/user/7/ping?page=2&sort=asc",
        "/v1/a%20b?" => "/v2/a%20b?",
        "/v1/" => "/v2/",
        "/v1" => "/v1",
        "/V1/a" => "/V1/a",
        "/x/v1/a?b=/v1/" => "/x/v1/a?b=/v1/",
        "*" => "*",
    }
    a_prefix_is_text_not_segments: r#"{"prefix_rewrite":{"prefix":"/v1","replacement":"/"}}"# {
        "/v1beta" => "/beta",
        "/v1/a" => "//a",
    }
    what_a_pattern_matches_is_replaced: r#"{"regex_rewrite":{"pattern":"^/v1/([^/]+)/([0-9]+)","substitution":"/v2/\\2/\\1"}}"# {
        "/v1/user/7/ping?page=2&sort=asc" => "/v2/7/user/ping?page=2&sort=asc",
        "/v1/user/x/ping?a=/v1/b/1" => "/v1/user/x/ping?a=/v1/b/1",
    }
    every_match_of_a_pattern_is_replaced: r#"{"regex_rewrite":{"pattern":"a(b)?","substitution":"<\\0\\1\\\\>"}}"# {
        "/a/ab" => "/<a\\>/<abb\\>",
    }
    a_pattern_may_take_text_out: r#"{"regex_rewrite":{"pattern":"/v[0-9]+","substitution":""}}"# {
        "/v1/user" => "/user",
    }
}

#[test]
fn a_path_with_a_segment_of_dots_is_not_sent() {
    for (request, path, header) in [
        (r#"{"path":"/u/${header:x}"}"#, "/", ".."),
        (r#"{"path":"/u/${header:x}/a"}"#, "/", "."),
        (r#"{"path":"/u/.${header:x}/a"}"#, "/", "."),
        (r#"{"path":"/u/.${header:absent}/a"}"#, "/", ""),
        (r#"{"path":"/u/${header:x}${header:x}"}"#, "/", "."),
        (r#"{"path":"/u/${header:x};v=1"}"#, "/", ".."),
        (r#"{"path":"/u\\${header:x}"}"#, "/", ".."),
        (r#"{"path":"/u/${header:x}"}"#, "/", "../admin"),
        (r#"{"path":"/u/${header:x}"}"#, "/", "a\\..\\b"),
        (r#"{"path":"/u/${header:x}"}"#, "/", "%2e%2e"),
        (r#"{"path":"/u/${header:x}?${query}"}"#, "/?a", ".."),
        (r#"{"path":"/u/${query:x}"}"#, "/?x=%2e%2e", ""),
        (r#"{"path":"/v2${path}"}"#, "/../admin", ""),
        (r#"{"path":"/v2${path}"}"#, "/a/%2e%2E/b", ""),
        (r#"{"path":"/v2${path}"}"#, "/a/..", ""),
        (r#"{"prefix_rewrite":{"prefix":"/v1","replacement":"/v2"}}"#, "/v1/../admin", ""),
        (r#"{"prefix_rewrite":{"prefix":"/v1.","replacement":"/v2/"}}"#, "/v1...", ""),
        (r#"{"regex_rewrite":{"pattern":"x","substitution":""}}"#, "/a/.x./b", ""),
        (r#"{"regex_rewrite":{"pattern":"^/","substitution":""}}"#, "/a", ""),
        (r#"{"regex_rewrite":{"pattern":".*","substitution":""}}"#, "/a", ""),
        (r#"{"regex_rewrite":{"pattern":"[*]","substitution":"a"}}"#, "*", ""),
    ] {
        assert_eq!(path_with(request, path, &[("x", header.as_bytes())]), Err(Unfit::UnsafePath), "{request} {path} {header}");
    }
}

#[test]
fn dots_elsewhere_are_sent() {
    for (request, path, header, sent) in [
        (r#"{"path":"/u/${header:x}"}"#, "/", "...", "/u/..."),
        (r#"{"path":"/u/${header:x}.json"}"#, "/", "..", "/u/...json"),
        (r#"{"path":"/u?a=${header:x}"}"#, "/", "../", "/u?a=..%2F"),
        (r#"{"path":"/u${path}"}"#, "/a..b/..c?../", "", "/u/a..b/..c"),
    ] {
        assert_eq!(path_with(request, path, &[("x", header.as_bytes())]).as_deref(), Ok(sent), "{request} {path} {header}");
    }
    // A target that does not change the path gets the path of the primary.
    for request in [r#"{"method":"PUT"}"#, r#"{"prefix_rewrite":{"prefix":"/v1","replacement":"/v2"}}"#] {
        assert_eq!(path(request, "/a/../b").as_deref(), Ok("/a/../b"), "{request}");
    }
}

#[test]
fn what_would_end_a_request_line_is_encoded_even_in_what_goes_as_it_came() {
    let sent = path(r#"{"path":"/v2${path}?${query}"}"#, "/a b\r\nx: y?c d\0").unwrap();
    assert_eq!(sent, "/v2/a%20b%0D%0Ax:%20y?c%20d%00");
}

#[test]
fn an_item_with_such_a_path_is_no_item() {
    let config = configured(r#","request":{"path":"/u/${header:x}"},"batch":{}"#, "");
    let (captured, response) = (captured(&config, &[(":path", b"/"), ("x", b"..")]), response());
    let reading = Reading::new(&captured, b"{}", &config.reading);
    let item = config.targets[0].shape.item(&source(&reading, &response), &attempt(), Format::JsonArray);
    assert_eq!(item.map(|_| ()), Err(Unfit::UnsafePath));
}

proptest! {
    /// Whatever a value in the path holds, a server that decodes the path finds as many segments as the template has.
    #[test]
    fn no_value_adds_or_takes_a_segment(text in "[./\\\\%2eEfF5cC;? ]{0,8}", path in "(/[.%2eEfF5cC;a]{0,4}){0,3}") {
        let sent = path_with(r#"{"path":"/u/${header:x}/y${path}"}"#, &path, &[("x", text.as_bytes())]);
        let Ok(sent) = sent else { return Ok(()) };
        let decoded = percent_encoding::percent_decode_str(&sent).decode_utf8_lossy().into_owned();
        for segment in decoded.split(['/', '\\']) {
            let segment = segment.split(';').next().unwrap().trim();
            prop_assert!(segment != "." && segment != "..", "{}", sent);
        }
        let rest = sent.strip_prefix("/u/").and_then(|rest| rest.split_once("/y"));
        let (first, last) = rest.unwrap();
        // Header values come without surrounding white space.
        prop_assert_eq!(percent_encoding::percent_decode_str(first).decode_utf8_lossy(), text);
        prop_assert_eq!(last, path);
    }
}
