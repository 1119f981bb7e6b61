use super::*;

const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

fn key(id: &str) -> Value {
    json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": id, "x": X })
}

fn with(name: &str, value: Value) -> Value {
    let mut key = key("a");
    key[name] = value;
    key
}

fn without(name: &str) -> Value {
    let mut key = key("a");
    key.as_object_mut().unwrap().remove(name);
    key
}

/// The names of the keys read.
fn ids(keys: &[Value]) -> Result<Vec<String>> {
    let set = KeySet::from_jwks(&json!({ "keys": keys }).to_string())?;
    Ok(set.keys.into_iter().map(|(id, _)| id).collect())
}

fn why(keys: &[Value]) -> String {
    let error = ids(keys).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    error.to_string()
}

#[test]
fn keys_of_other_kinds_are_passed_over() {
    let others = [
        json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB", "use": "sig", "kid": "r" }),
        json!({ "kty": "EC", "crv": "P-256", "x": X, "y": X, "use": "sig", "kid": "e" }),
        json!({ "kty": "AKP", "alg": "ML-DSA-44", "pub": X, "kid": "m" }),
        with("crv", json!("X25519")),
        with("use", json!("enc")),
        with("alg", json!("HS256")),
        with("kty", json!("okp")),
        with("kty", json!(7)),
        without("use"),
        without("kty"),
        json!({}),
    ];
    for other in &others {
        assert!(why(std::slice::from_ref(other)).contains("no Ed25519 key"), "{other}");
    }
    let all: Vec<_> = others.into_iter().chain([key("mine"), without("alg")]).collect();
    assert_eq!(ids(&all).unwrap(), ["mine", "a"]);
    assert_eq!(ids(&[with("alg", json!("Ed25519"))]).unwrap(), ["a"]);
}

#[test]
fn one_bad_key_spoils_the_set() {
    for (bad, expected) in [
        (with("d", json!(X)), "private or symmetric"),
        (json!({ "kty": "oct", "k": "AAAA", "kid": "s" }), "private or symmetric"),
        (json!({ "kty": "RSA", "d": "AQAB" }), "private or symmetric"),
        (key("good"), "stands twice"),
        (without("kid"), "`kid`"),
        (with("kid", json!("")), "`kid`"),
        (with("kid", json!("a\nb")), "`kid`"),
        (with("kid", json!("k".repeat(129))), "`kid`"),
        (with("kid", json!(1)), "`kid`"),
        (without("x"), "`x`"),
        (with("x", json!(format!("{X}="))), "`x`"),
        (with("x", json!(&X[..42])), "`x`"),
        (with("x", json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")), "unusable"),
    ] {
        assert!(why(&[key("good"), bad.clone()]).contains(expected), "{bad}");
        assert!(why(&[bad.clone(), key("good")]).contains(expected), "{bad}");
    }
}

#[test]
fn what_is_no_key_set_is_refused() {
    let doubled = format!(r#"{{"keys":[{{"kty":"RSA","kty":"OKP","x":"{X}"}}]}}"#);
    for wrong in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[1]}"#, &doubled, "\u{feff}{}"] {
        let error = KeySet::from_jwks(wrong).unwrap_err();
        assert!(error.to_string().contains("not a JSON object"), "{wrong}: {error}");
    }
    assert!(why(&[]).contains("no Ed25519 key"));
    let many: Vec<_> = (0..65).map(|at| key(&at.to_string())).collect();
    assert!(why(&many).contains("more than 64"));
    assert_eq!(ids(&many[..64]).unwrap().len(), 64);
    let long = format!(r#"{{"keys":[],"pad":"{}"}}"#, "x".repeat(MAX_JWKS));
    assert!(KeySet::from_jwks(&long).unwrap_err().to_string().contains("64 KiB"));
}

#[test]
fn what_is_published_reads_back() {
    let public = PublicKey::from_bytes(URL_SAFE_NO_PAD.decode(X).unwrap().try_into().unwrap());
    let set = to_jwks([&public.unwrap()]);
    assert_eq!(set["keys"][0]["kid"], "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    let read = KeySet::from_jwks(&set.to_string()).unwrap();
    assert!(read.find("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k").is_some());
    assert!(read.find("").is_none());
}
