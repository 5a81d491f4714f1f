//! Explains by which key the copies of a target are kept in order.

use sidecast::config::Config;
use sidecast::http::request_head::RequestHead;
use sidecast::http::text::text_of;
use sidecast::rewrite::order_key::OrderKey;
use sidecast::rewrite::reading::Reading;

use super::request::Asked;

/// A longer value is not shown, in bytes.
const MOST: usize = 64;

/// Says which key the request has, or why it has none.
pub(super) fn told(order: &OrderKey, config: &Config, asked: &Asked<'_>, head: &RequestHead<'_>) -> String {
    let captured = asked.captured(config, head);
    let reading = Reading::new(&captured, asked.body, &config.reading);
    let Ok(key) = order.of(&reading) else {
        return "not sent: reading its order key takes too much work (work_limit)".to_owned();
    };
    let (place, value) = match order {
        OrderKey::Header(name) => (format!("header {name}"), asked.headers.get_all(name.as_bytes()).next().map(text_of)),
        OrderKey::Body(pointer) => {
            let body = reading.look_into_body().ok().flatten();
            let value = body.and_then(|body| body.at(pointer).ok().flatten());
            (format!("body {:?}", pointer.to_string()), value.map(|value| value.written().into()))
        }
    };
    match value.filter(|_| key.is_some()) {
        None => format!("not in order: no key in {place}"),
        Some(value) if value.len() > MOST => format!("in order by {place}: a value of {} bytes", value.len()),
        Some(value) => format!("in order by {place}: {value}"),
    }
}
