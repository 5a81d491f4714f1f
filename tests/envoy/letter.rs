//! Dead letters: the envelope in which a request is kept that was given up.

use std::time::{Duration, SystemTime};

use prost_types::Timestamp;
use serde_json::{json, Value};

use crate::support::recorded::Headers;

/// An envelope.
#[derive(Clone, Debug)]
pub(crate) struct Letter(pub(crate) Value);

impl Letter {
    /// Reads an envelope. It has the fields of version 1 and no others.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let letter: Value = serde_json::from_slice(bytes).unwrap_or_else(|error| panic!("{error}: {}", bytes.escape_ascii()));
        assert_eq!(letter["version"], 1, "{letter}");
        let known = [
            "version",
            "id",
            "target",
            "cluster",
            "reason",
            "attempts",
            "last_outcome",
            "received_at",
            "given_up_at",
            "correlation_id",
            "traceparent",
            "request",
        ];
        for name in letter.as_object().unwrap().keys() {
            assert!(known.contains(&name.as_str()), "{name} in {letter}");
        }
        for name in letter["request"].as_object().unwrap().keys() {
            let known = ["method", "path", "authority", "headers", "headers_base64", "redacted", "body", "body_base64"];
            assert!(known.contains(&name.as_str()), "request.{name} in {letter}");
        }
        Self(letter)
    }

    /// A field that must be a text.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap_or_else(|| panic!("{name} of {}", self.0))
    }

    /// The delivery's id, which must look like one.
    pub(crate) fn id(&self) -> &str {
        let id = self.text("id");
        assert!(crate::headers::is_uuid_v4(id), "{id}");
        id
    }

    /// Target, reason and number of attempts.
    pub(crate) fn summary(&self) -> (&str, &str, u64) {
        let attempts = self.0["attempts"].as_u64();
        (self.text("target"), self.text("reason"), attempts.unwrap_or_else(|| panic!("{}", self.0)))
    }

    /// A field of the request, as text; none if it is not there.
    pub(crate) fn request(&self, name: &str) -> Option<&str> {
        self.0["request"][name].as_str()
    }

    /// The headers of the request.
    pub(crate) fn headers(&self) -> Headers {
        let list = self.0["request"]["headers"].as_array().unwrap_or_else(|| panic!("{}", self.0));
        let pair = |pair: &Value| {
            let [name, value] = [&pair[0], &pair[1]].map(|text| text.as_str().unwrap_or_else(|| panic!("{pair}")));
            (name.to_owned(), value.as_bytes().to_vec())
        };
        list.iter().map(pair).collect()
    }

    /// The request's body, however it is written.
    pub(crate) fn body(&self) -> Vec<u8> {
        match (self.request("body"), self.request("body_base64")) {
            (Some(text), None) => text.as_bytes().to_vec(),
            (None, Some(text)) => {
                let bytes = data_encoding::BASE64.decode(text.as_bytes()).unwrap();
                assert!(std::str::from_utf8(&bytes).is_err(), "text would do: {text}");
                bytes
            }
            both => panic!("{both:?}"),
        }
    }

    /// The times are in order, and none is outside of the test's.
    pub(crate) fn assert_times(&self, started: SystemTime) {
        let [received, given_up] = ["received_at", "given_up_at"].map(|name| {
            let time: Timestamp = self.text(name).parse().unwrap_or_else(|error| panic!("{error}: {}", self.0));
            SystemTime::UNIX_EPOCH + Duration::new(time.seconds.try_into().unwrap(), time.nanos.try_into().unwrap())
        });
        // They are written in whole milliseconds.
        let slack = Duration::from_millis(1);
        assert!(started <= received + slack, "{started:?}, {}", self.0);
        assert!(received <= given_up, "{}", self.0);
        assert!(given_up <= SystemTime::now() + slack, "{}", self.0);
    }
}

/// What passes an envelope to RabbitMQ's call for publishing a message, as `dead_letter`.
pub(crate) fn to_rabbitmq(cluster: &str, queue: &str) -> Value {
    json!({
        "cluster": cluster,
        "path": "/api/exchanges/%2F/amq.default/publish",
        "timeout": "10s",
        "headers": {"set": {"authorization": "Basic ${env:RABBIT_BASIC}"}},
        "body": {"template": {
            "properties": {"delivery_mode": 2, "content_type": "application/json", "message_id": "${delivery_id}"},
            "routing_key": queue,
            "payload": "${dead_letter_base64}",
            "payload_encoding": "base64",
        }},
    })
}
