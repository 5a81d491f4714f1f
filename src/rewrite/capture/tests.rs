use super::*;
use crate::config::Config;
use crate::http::headers::Pairs;
use crate::http::loop_mark::LoopGuard;
use crate::http::request_head::RequestHead;

fn map(pairs: &[(&str, &[u8])]) -> HeaderMap {
    HeaderMap::from(&Pairs::from_iter(pairs.iter().copied()))
}

#[test]
fn a_correlation_id_is_kept_whole_and_as_text() {
    let config = Config::parse(br#"{"targets":[{"name":"t","cluster":"c"}]}"#, &|_| None).unwrap();
    let long = [b"\xff"[..].to_vec(), vec![b'a'; 500]].concat();
    let headers = map(&[("x-request-id", &long)]);
    let captured = CapturedHead::capture(headers, false, None, Needs::default(), &config.correlation);
    assert_eq!(captured.correlation_id(), format!("\u{ff}{}", "a".repeat(500)));
    assert!(captured.size() > 500, "{}", captured.size());
}

#[test]
fn a_head_tells_tunnels_and_copies() {
    let guard = LoopGuard::new(Some("k"));
    let read = |pairs: &[(&str, &[u8])]| {
        let headers = map(pairs);
        let head = RequestHead::read(&headers, &guard);
        (String::from_utf8_lossy(head.path).into_owned(), head.tunnels || head.upgrades, head.is_copy)
    };
    assert_eq!(read(&[(":method", b"GET"), (":path", b"/a?b?c#d")]), ("/a".to_owned(), false, false));
    assert_eq!(read(&[(":path", b"?")]), (String::new(), false, false));
    assert!(read(&[(":method", b"CONNECT")]).1);
    assert!(read(&[(":method", b"GET"), ("upgrade", b"websocket")]).1);
    assert!(read(&[(":method", b"POST"), (":protocol", b"websocket")]).1);
    assert!(!read(&[("x-sidecast-loop", b"1")]).2);
    assert!(read(&[("x-sidecast-loop", b"1"), ("x-sidecast-loop", guard.mark("id").as_bytes())]).2);
}
