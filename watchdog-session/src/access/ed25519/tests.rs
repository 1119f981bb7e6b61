use super::*;

/// The key of RFC 8037, appendix A, as PKCS#8 (RFC 5958) of version 1.
const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
    -----END PRIVATE KEY-----\n";
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
    MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n\
    -----END PUBLIC KEY-----\n";
const THUMBPRINT: &str = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";

fn pem(label: &str, der: &[u8]) -> String {
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

fn public(pem: &str) -> Result<String, Refusal> {
    PublicKey::from_pem(&Secret::from(pem)).map(|key| key.thumbprint())
}

fn private(pem: &str) -> Result<(), Refusal> {
    pair_from_pem(&Secret::from(pem)).map(drop)
}

#[test]
fn private_and_public_pem_name_the_same_key() {
    assert_eq!(public(PRIVATE).as_deref(), Ok(THUMBPRINT));
    assert_eq!(public(PUBLIC).as_deref(), Ok(THUMBPRINT));
    assert_eq!(private(PRIVATE), Ok(()));
    assert_eq!(private(PUBLIC), Err(Refusal::Kind));
    // Without the last line break, with other line ends, and after a remark.
    for spelt in [PRIVATE.trim_end(), &PRIVATE.replace('\n', "\r\n"), &format!("x\n{PRIVATE}")] {
        assert_eq!(private(spelt), Ok(()), "{spelt}");
    }
    // PKCS#8 of version 2 carries the public key too.
    let pair = Ed25519KeyPair::generate().unwrap();
    assert_eq!(private(&pem("PRIVATE KEY", pair.to_pkcs8().unwrap().as_ref())), Ok(()));
}

#[test]
fn what_is_not_one_ed25519_key_is_refused() {
    for (wrong, why) in [
        (String::new(), Refusal::Pem),
        ("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A".into(), Refusal::Pem),
        (PRIVATE.replace('\n', "\\n"), Refusal::Pem),
        (format!("{PRIVATE}{PRIVATE}"), Refusal::Pem),
        (format!("{PRIVATE}{PUBLIC}"), Refusal::Pem),
        (PRIVATE.replace("pezJpGX", "pez?pGX"), Refusal::Pem),
        (PRIVATE.replace("-----END PRIVATE KEY-----", ""), Refusal::Pem),
        (PRIVATE.replace("PRIVATE KEY", "EC PRIVATE KEY"), Refusal::Kind),
        (PRIVATE.replace("PRIVATE KEY", "CERTIFICATE"), Refusal::Kind),
        // X25519 (1.3.101.110) instead of Ed25519 (1.3.101.112).
        (PRIVATE.replace("BQYDK2Vw", "BQYDK2Vu"), Refusal::Kind),
        (pem("PRIVATE KEY", &[0x30, 0]), Refusal::Kind),
        (pem("PUBLIC KEY", &SPKI), Refusal::Kind),
        (pem("PUBLIC KEY", &[&SPKI[..], &[9; 33]].concat()), Refusal::Kind),
    ] {
        assert_eq!(public(&wrong), Err(why), "{wrong}");
        assert_eq!(private(&wrong), Err(why), "{wrong}");
    }
}

/// The reason for the list: under such a key a signature that nobody made verifies.
#[test]
fn anybody_signs_for_a_key_of_small_order_so_it_is_refused() {
    let identity = near(1, 0);
    let forged = [identity, [0; 32]].concat();
    let mut proved = 0;
    for point in SMALL_ORDER.into_iter().flat_map(|point| {
        let mut negative = point;
        negative[31] |= 0x80;
        [point, negative]
    }) {
        assert_eq!(PublicKey::from_bytes(point), Err(Refusal::SmallOrder));
        // S = 0 and R = the identity fit whenever the hash of the message is a multiple of the
        // order of the point: once in eight times or more.
        let weak = ParsedPublicKey::new(&ED25519, point);
        let fits = |nonce: u32| {
            weak.as_ref().is_ok_and(|key| key.verify_sig(&nonce.to_be_bytes(), &forged).is_ok())
        };
        proved += u32::from((0..200).any(fits));
    }
    // Some encodings the library refuses by itself, those not reduced among them.
    assert!(proved >= 4, "{proved}");
    let honest = Ed25519KeyPair::generate().unwrap();
    assert!(PublicKey::of(&honest).is_ok());
}

#[test]
fn nothing_shows_a_private_key() {
    let pair = pair_from_pem(&Secret::from(PRIVATE)).unwrap();
    let shown = format!("{pair:?} {:?} {:?}", PublicKey::of(&pair).unwrap(), private("x"));
    assert!(!shown.contains("9d61") && !shown.contains("157, 97"), "{shown}");
    assert!(shown.contains(THUMBPRINT));
}
