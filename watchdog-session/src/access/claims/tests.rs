use super::*;

fn locus(text: &str) -> Option<Locus> {
    Locus::parse(text)
}

#[test]
fn a_location_has_one_spelling() {
    let user = "00112233445566778899aabbccddeeff";
    for bucket in [0, 7, 1023] {
        let text = format!("{bucket}.{user}");
        let read = locus(&text).unwrap();
        assert_eq!((read.0.bucket, read.0.user_text().as_str()), (bucket, user));
        assert_eq!(serde_json::to_value(read).unwrap(), text);
    }
    for wrong in [
        format!("1024.{user}"),
        format!("07.{user}"),
        format!("+7.{user}"),
        format!("-0.{user}"),
        format!(".{user}"),
        format!("7.{}", user.to_uppercase()),
        format!("7.{}", &user[1..]),
        format!("7.{user}.7"),
        format!("70000.{user}"),
        "7".into(),
        String::new(),
    ] {
        assert_eq!(locus(&wrong), None, "{wrong}");
    }
}

#[test]
fn integers_are_whole_and_exact_in_every_reader() {
    #[derive(Deserialize)]
    struct Holder(#[serde(deserialize_with = "integer")] u64);
    let read = |text: &str| serde_json::from_str::<Holder>(text).ok().map(|holder| holder.0);
    assert_eq!(read("0"), Some(0));
    assert_eq!(read("9007199254740992"), Some(1 << 53));
    for wrong in [
        "9007199254740993",
        "18446744073709551616",
        "-1",
        "-0",
        "1.0",
        "1e3",
        "1e400",
        "\"1\"",
        "null",
        "[1]",
        "true",
        "NaN",
        "01",
    ] {
        assert_eq!(read(wrong), None, "{wrong}");
    }
}
