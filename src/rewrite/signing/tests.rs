use super::*;
use crate::http::headers::HeaderMap;
use data_encoding::BASE64;
use proptest::prelude::*;
use standardwebhooks::Webhook;

/// The secret of the tests of the reference libraries.
const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const OTHER: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn webhooks(secrets: &[&str]) -> Signing {
    Signing::new(Scheme::StandardWebhooks, secrets.iter().map(|secret| Key::of_webhook_secret(secret).unwrap()).collect())
}

fn header(prefix: &str, encoding: Encoding, timestamp: Option<Timestamp>, secrets: &[&str]) -> Signing {
    let header = SignatureHeader { name: "x-signature".to_owned(), prefix: prefix.to_owned(), encoding, timestamp };
    Signing::new(Scheme::Header(header), secrets.iter().map(|secret| Key::of_text(secret).unwrap()).collect())
}

/// The headers of a signed body.
fn signed(signing: &Signing, id: &str, at: u64, body: &[u8]) -> Vec<(String, String)> {
    let mut pairs = Pairs::default();
    signing.sign(&mut pairs, id, Duration::from_secs(at) + Duration::from_millis(999), body);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    HeaderMap::from(&pairs).iter().map(|(name, value)| (text(name), text(value))).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn a_webhook_is_signed_as_the_reference_libraries_do() {
    let body = br#"{"email":"test@example.com","username":"test_user"}"#;
    let expected = pairs(&[
        ("webhook-id", "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk"),
        ("webhook-timestamp", "1649367553"),
        ("webhook-signature", "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="),
    ]);
    assert_eq!(signed(&webhooks(&[SECRET]), "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", 1_649_367_553, body), expected);
}

#[test]
fn each_secret_makes_a_signature_in_the_order_of_the_configuration() {
    let [one, other, both] =
        [&[SECRET][..], &[OTHER], &[SECRET, OTHER]].map(|secrets| signed(&webhooks(secrets), "id", 7, b"{}").pop().unwrap().1);
    assert_ne!(one, other);
    assert_eq!(both, format!("{one} {other}"));
}

#[test]
fn a_body_is_signed_as_github_does() {
    // The example of GitHub's documentation, "Testing the webhook payload validation".
    let github = header("sha256=", Encoding::Hex, None, &["It's a Secret to Everybody"]);
    let value = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    assert_eq!(signed(&github, "id", 7, b"Hello, World!"), pairs(&[("x-signature", value)]));
}

#[test]
fn a_body_is_signed_as_shopify_does() {
    // RFC 4231, test case 2, in Base64.
    let shopify = header("", Encoding::Base64, None, &["Jefe"]);
    let value = "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM=";
    assert_eq!(signed(&shopify, "id", 7, b"what do ya want for nothing?"), pairs(&[("x-signature", value)]));
}

#[test]
fn the_time_and_the_body_are_signed_as_stripe_does() {
    let before = || Some(Timestamp::Before("t=".to_owned()));
    // printf '1492774577.{"id":7}' | openssl dgst -sha256 -hmac whsec_test
    let one = "2a9e70fb1a369642a01d6766ff1ac877483cefd85647c57097e4d6a927c54e99";
    let other = "4691a98bba35f5b01aec85d216ca2163403ee49ad9717be35e2f4247ef60a59d";
    let stripe = header("v1=", Encoding::Hex, before(), &["whsec_test", "whsec_next"]);
    let value = format!("t=1492774577,v1={one},v1={other}");
    assert_eq!(signed(&stripe, "id", 1_492_774_577, br#"{"id":7}"#), pairs(&[("x-signature", &value)]));
    let apart = header("", Encoding::Hex, Some(Timestamp::Header("x-time".to_owned())), &["whsec_test"]);
    assert_eq!(signed(&apart, "id", 1_492_774_577, br#"{"id":7}"#), pairs(&[("x-time", "1492774577"), ("x-signature", one)]));
}

#[test]
fn a_secret_of_another_form_or_length_is_refused_and_not_shown() {
    let of = |bytes: usize| format!("whsec_{}", BASE64.encode(&vec![7; bytes]));
    for secret in [of(24), of(64)] {
        assert!(Key::of_webhook_secret(&secret).is_ok(), "{secret}");
    }
    let expected = "expected `whsec_` and the base64 of 24 to 64 bytes, found ";
    for (secret, found) in [
        (of(23), "that of 23 bytes"),
        (of(65), "that of 65 bytes"),
        ("whsec_".to_owned(), "that of 0 bytes"),
        (of(24).replace("whsec_", ""), "no `whsec_`"),
        (of(24).replace("whsec_", "WHSEC_"), "no `whsec_`"),
        (String::new(), "no `whsec_`"),
        (of(25).trim_end_matches('=').to_owned(), "invalid base64, or no padding"),
        (format!("{}\n", of(24)), "invalid base64, or no padding"),
        ("whsec_${env:SECRET}".to_owned(), "invalid base64, or no padding"),
    ] {
        assert_eq!(Key::of_webhook_secret(&secret).unwrap_err().to_string(), format!("{expected}{found}"), "{secret}");
    }
    assert_eq!(Key::of_text("").unwrap_err().to_string(), "expected text, found none");
    assert_eq!(format!("{:?}", webhooks(&[SECRET])), "Signing { scheme: StandardWebhooks, keys: [Key] }");
}

#[test]
fn a_header_that_is_made_is_known_in_every_spelling() {
    let scheme = |timestamp| header("", Encoding::Hex, timestamp, &["s"]).scheme;
    let of_time = |name: &str| scheme(Some(Timestamp::Header(name.to_owned())));
    for (scheme, made, others) in [
        (
            Scheme::StandardWebhooks,
            &["webhook-id", "webhook_timestamp", "webhook-signature"][..],
            &["webhook-ids", "x-webhook-id"][..],
        ),
        (scheme(None), &["x-signature", "x_signature"], &["webhook-id", "x-time"]),
        (of_time("x-time"), &["x-signature", "x-time", "x_time"], &["time"]),
        (scheme(Some(Timestamp::Before("x-time".to_owned()))), &["x-signature"], &["x-time"]),
    ] {
        assert!(made.iter().all(|name| scheme.makes(name.as_bytes())), "{scheme:?}");
        assert!(!others.iter().any(|name| scheme.makes(name.as_bytes())), "{scheme:?}");
    }
}

#[test]
fn a_placeholder_has_the_form_of_the_signature() {
    assert_eq!(webhooks(&[SECRET, OTHER]).placeholder(), ("webhook-signature", "v1,[signature] v1,[signature]".to_owned()));
    let stripe = header("v1=", Encoding::Hex, Some(Timestamp::Before("t=".to_owned())), &["a"]);
    assert_eq!(stripe.placeholder(), ("x-signature", "t=[timestamp],v1=[signature]".to_owned()));
}

fn key() -> impl Strategy<Value = String> {
    prop::collection::vec(any::<u8>(), 24..=64).prop_map(|key| format!("whsec_{}", BASE64.encode(&key)))
}

proptest! {
    #[test]
    fn whoever_has_one_of_the_secrets_verifies_and_nobody_else(
        secrets in prop::collection::vec(key(), 1..=4),
        other in key(),
        id in "[0-9a-f]{8}",
        body in ".{0,80}",
    ) {
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
        let headers = signed(&webhooks(&secrets), &id, now, body.as_bytes());
        let map = |headers: &[(String, String)]| -> hyper::HeaderMap {
            headers.iter().map(|(name, value)| (name.parse::<hyper::header::HeaderName>().unwrap(), value.parse().unwrap())).collect()
        };
        let longer = format!("{body} ");
        for secret in &secrets {
            let receiver = Webhook::new(secret).unwrap();
            prop_assert!(receiver.verify(body.as_bytes(), &map(&headers)).is_ok());
            prop_assert!(receiver.verify(longer.as_bytes(), &map(&headers)).is_err());
            for (place, changed) in [(0, "0"), (1, "0")] {
                let mut headers = headers.clone();
                headers[place].1.push_str(changed);
                prop_assert!(receiver.verify(body.as_bytes(), &map(&headers)).is_err());
            }
        }
        if !secrets.contains(&other.as_str()) {
            prop_assert!(Webhook::new(&other).unwrap().verify(body.as_bytes(), &map(&headers)).is_err());
        }
    }

    #[test]
    fn a_header_holds_the_tags_of_another_implementation(
        secrets in prop::collection::vec("[ -~]{1,80}", 1..=4),
        prefix in "([!-+./-~][ -~]{0,8})?",
        (is_hex, place) in (any::<bool>(), 0..3),
        at in 0_u64..1 << 40,
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let timestamp = match place {
            0 => None,
            1 => Some(Timestamp::Header("x-time".to_owned())),
            _ => Some(Timestamp::Before("t=".to_owned())),
        };
        let encoding = if is_hex { Encoding::Hex } else { Encoding::Base64 };
        let headers = signed(&header(&prefix, encoding, timestamp, &secrets.iter().map(String::as_str).collect::<Vec<_>>()), "id", at, &body);
        let input = if place == 0 { body } else { [format!("{at}.").as_bytes(), &body].concat() };
        let tags = secrets.iter().map(|secret| {
            let tag = hmac_sha256::HMAC::mac(&input, secret.as_bytes());
            format!("{prefix}{}", if is_hex { data_encoding::HEXLOWER.encode(&tag) } else { BASE64.encode(&tag) })
        });
        let before = (place == 2).then(|| format!("t={at}"));
        let value = before.into_iter().chain(tags).collect::<Vec<_>>().join(",");
        let time = (place == 1).then(|| ("x-time".to_owned(), at.to_string()));
        let expected: Vec<_> = time.into_iter().chain([("x-signature".to_owned(), value)]).collect();
        prop_assert_eq!(headers, expected);
    }
}
