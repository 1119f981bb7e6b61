//! T31: other ways to write the same token.

use serde_json::json;

use super::forger::{self, Forger, NOW, WAYS, kind_of};
use super::refused;

#[test]
fn t31_a_token_has_one_spelling() {
    let forger = Forger::new();
    for way in WAYS {
        let token = forger.sign(way, &forger.header_of(way), &forger.claims());
        let parts: Vec<_> = token.split('.').collect();
        for at in 0..3 {
            let spelt = |part: String| {
                let mut parts: Vec<_> = parts.iter().map(ToString::to_string).collect();
                parts[at] = part;
                parts.join(".")
            };
            let part = parts[at];
            for wrong in [
                format!("{part}="),
                format!("{part}=="),
                format!(" {part}"),
                format!("{part} "),
                format!("{part}\n"),
                format!("{part}\t"),
                format!("{part}\0"),
                format!("{part}?"),
                format!("{part}A"),
                format!("{part}%3D"),
                format!("\u{feff}{part}"),
                String::new(),
            ] {
                refused(&forger, &spelt(wrong.clone()), &wrong);
            }
            // Unused bits of the last character: other spellings of the same bytes.
            if part.len() % 4 != 0 {
                for other in forger::same_bytes(part) {
                    refused(&forger, &spelt(other), "unused bits");
                }
            }
        }
        let standard = token.replace('-', "+").replace('_', "/");
        if standard != token {
            refused(&forger, &standard, "the other alphabet");
        }
        for odd in [
            format!("{token}."),
            format!(".{token}"),
            format!("{token}.{}", parts[2]),
            format!("Bearer {token}"),
            token.replacen('.', "..", 1),
            token.replace('.', " "),
            ".".into(),
            "..".into(),
            "...".into(),
            String::new(),
        ] {
            refused(&forger, &odd, &odd);
        }
        // The JSON serialisation of RFC 7515, section 7.2.
        let [header, payload, signature] = [parts[0], parts[1], parts[2]];
        let json = json!({ "protected": header, "payload": payload, "signature": signature });
        refused(&forger, &json.to_string(), "JSON serialisation");
        refused(&forger, &"a.".repeat(5_000_000), "10 MB");
    }
}

#[test]
fn t31_no_member_stands_twice_and_nothing_stands_around_the_object() {
    let forger = Forger::new();
    for way in WAYS {
        let header = forger.header_of(way);
        let claims = forger.claims();
        let (header_text, claims_text) = (header.to_string(), claims.to_string());
        let wrap = |text: &str| {
            [
                format!("\u{feff}{text}"),
                format!(" {text}"),
                format!("{text}\n"),
                format!("{text}{text}"),
                format!("{text}\0"),
                format!("[{text}]"),
                text[1..].to_owned(),
                text[..text.len() - 1].to_owned(),
                text.replacen('{', "{,", 1),
                text.replace('}', ",}"),
                text.replace('"', "'"),
                text.replacen('{', "{/**/", 1),
            ]
        };
        for text in wrap(&header_text) {
            refused(&forger, &forger.sign_text(way, &text, &claims_text), &text);
        }
        for text in wrap(&claims_text) {
            refused(&forger, &forger.sign_text(way, &header_text, &text), &text);
        }
        for name in ["alg", "typ", "kid"] {
            let first = format!("{{\"{name}\":{},", header[name]);
            let text = header_text.replacen('{', &first, 1);
            refused(&forger, &forger.sign_text(way, &text, &claims_text), &text);
        }
        for name in ["sub", "aud", "exp", "roles", "loc", "of_a_later_release"] {
            let text = claims_text.replacen('{', &format!("{{\"{name}\":1,\"{name}\":1,"), 1);
            refused(&forger, &forger.sign_claims(way, &text), &text);
            let value = &claims[name];
            let escaped = format!("{{\"\\u00{:02x}{}\":{value},", name.as_bytes()[0], &name[1..]);
            let text = claims_text.replacen('{', &escaped, 1);
            if !value.is_null() {
                refused(&forger, &forger.sign_claims(way, &text), &text);
            }
        }
        // Once is fine: a later release may say more.
        let text = claims_text.replacen('{', "{\"of_a_later_release\":[1],", 1);
        let token = forger.sign_claims(way, &text);
        assert_eq!(kind_of(&forger.sessions.verifier().check(&token, NOW)), None);
        // Deep nesting ends before the stack does.
        let deep = format!("{{\"x\":{}1{},", "[".repeat(2500), "]".repeat(2500));
        let _ = forger
            .sessions
            .verifier()
            .check(&forger.sign_claims(way, &claims_text.replacen('{', &deep, 1)), NOW);
    }
}
