//! Lifecycle rules on the wire.

use quick_xml::Reader;
use quick_xml::events::Event;
use serde::{Deserialize, Serialize};

use super::lifecycle::{Expiration, LifecycleRule, Transition};

const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RuleXml {
    #[serde(rename = "ID", default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    filter: Option<FilterXml>,
    /// The old way to say what `Filter` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
    status: String,
    #[serde(rename = "Transition", default, skip_serializing_if = "Vec::is_empty")]
    transitions: Vec<TransitionXml>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expiration: Option<ExpirationXml>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    noncurrent_version_expiration: Option<NoncurrentXml>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    abort_incomplete_multipart_upload: Option<AbortXml>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct FilterXml {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
    #[serde(default, skip_serializing)]
    and: Option<AndXml>,
    #[serde(default, skip_serializing)]
    tag: Option<serde::de::IgnoredAny>,
    #[serde(default, skip_serializing)]
    object_size_greater_than: Option<u64>,
    #[serde(default, skip_serializing)]
    object_size_less_than: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AndXml {
    #[serde(default)]
    prefix: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TransitionXml {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    days: Option<u32>,
    storage_class: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ExpirationXml {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    days: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    date: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NoncurrentXml {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    noncurrent_days: Option<u32>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AbortXml {
    days_after_initiation: u32,
}

/// Reads a lifecycle configuration; `None` when it is none.
pub(super) fn decode(document: &str) -> Option<Vec<LifecycleRule>> {
    let mut reader = Reader::from_str(document);
    let mut rules = Vec::new();
    let mut is_configuration = false;
    loop {
        match reader.read_event().ok()? {
            Event::Start(tag) if tag.local_name().as_ref() == b"LifecycleConfiguration" => {
                is_configuration = true;
            }
            Event::Empty(tag) if tag.local_name().as_ref() == b"LifecycleConfiguration" => {
                is_configuration = true;
            }
            Event::Start(tag) if is_configuration && tag.local_name().as_ref() == b"Rule" => {
                let content = reader.read_text(tag.name()).ok()?;
                let content = std::str::from_utf8(content.as_ref()).ok()?;
                rules.push(rule(format!("<Rule>{content}</Rule>"))?);
            }
            Event::Eof => return is_configuration.then_some(rules),
            _ => {}
        }
    }
}

fn rule(written: String) -> Option<LifecycleRule> {
    let xml: RuleXml = quick_xml::de::from_str(&written).ok()?;
    let filter = xml.filter.unwrap_or_default();
    let is_narrowed = filter.and.is_some()
        || filter.tag.is_some()
        || filter.object_size_greater_than.is_some()
        || filter.object_size_less_than.is_some();
    let prefix = filter.prefix.or(filter.and.and_then(|and| and.prefix)).or(xml.prefix);
    let expiration = xml.expiration.map(|expiration| match expiration {
        ExpirationXml { days: Some(days), .. } => Expiration::Days(days),
        ExpirationXml { date: Some(date), .. } => Expiration::Date(date),
        ExpirationXml { days: None, date: None } => Expiration::DeleteMarkers,
    });
    let transitions = xml
        .transitions
        .into_iter()
        .map(|transition| Transition { days: transition.days, class: transition.storage_class })
        .collect();
    Some(LifecycleRule {
        id: xml.id.unwrap_or_default(),
        prefix: prefix.unwrap_or_default(),
        is_enabled: xml.status == "Enabled",
        is_narrowed,
        expiration,
        transitions,
        noncurrent_days: xml.noncurrent_version_expiration.and_then(|old| old.noncurrent_days),
        abort_multipart_days: xml
            .abort_incomplete_multipart_upload
            .map(|abort| abort.days_after_initiation),
        written: Some(written),
    })
}

/// Writes a lifecycle configuration; `None` for a rule that cannot be written.
pub(super) fn encode(rules: &[LifecycleRule]) -> Option<String> {
    let mut document = format!("<LifecycleConfiguration xmlns=\"{NAMESPACE}\">");
    for rule in rules {
        match &rule.written {
            Some(written) => document.push_str(written),
            None => document.push_str(&written_anew(rule)?),
        }
    }
    document.push_str("</LifecycleConfiguration>");
    Some(document)
}

fn written_anew(rule: &LifecycleRule) -> Option<String> {
    let expiration = match &rule.expiration {
        None => None,
        Some(Expiration::Days(days)) => Some(ExpirationXml { days: Some(*days), date: None }),
        Some(Expiration::Date(date)) => {
            Some(ExpirationXml { days: None, date: Some(date.clone()) })
        }
        // Only ever read.
        Some(Expiration::DeleteMarkers) => return None,
    };
    let xml = RuleXml {
        id: Some(rule.id.clone()),
        filter: Some(FilterXml { prefix: Some(rule.prefix.clone()), ..FilterXml::default() }),
        prefix: None,
        status: if rule.is_enabled { "Enabled" } else { "Disabled" }.into(),
        transitions: rule
            .transitions
            .iter()
            .map(|to| TransitionXml { days: to.days, storage_class: to.class.clone() })
            .collect(),
        expiration,
        noncurrent_version_expiration: rule
            .noncurrent_days
            .map(|days| NoncurrentXml { noncurrent_days: Some(days) }),
        abort_incomplete_multipart_upload: rule
            .abort_multipart_days
            .map(|days| AbortXml { days_after_initiation: days }),
    };
    (!rule.is_narrowed).then(|| quick_xml::se::to_string_with_root("Rule", &xml).ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn days() -> impl Strategy<Value = Option<u32>> {
        prop::option::of(1_u32..100_000)
    }

    proptest! {
        #[test]
        fn rules_read_back(
            rules in prop::collection::vec(("[a-z<&\"]{1,9}", "[a-z/=&<]{0,9}", days(), days(), days(), days()), 1..5)
        ) {
            let rules: Vec<_> = rules.into_iter().map(|(id, prefix, expire, moved, old, abort)| {
                let mut rule = LifecycleRule::new(id, prefix);
                rule.expiration = expire.map(Expiration::Days);
                rule.transitions = moved
                    .into_iter()
                    .map(|days| Transition { days: Some(days), class: "GLACIER".into() })
                    .collect();
                rule.noncurrent_days = old;
                rule.abort_multipart_days = abort;
                rule
            }).collect();
            let read = decode(&encode(&rules).unwrap()).unwrap();
            prop_assert_eq!(read.len(), rules.len());
            for (read, written) in read.iter().zip(&rules) {
                prop_assert!(read.is_same(written), "{:?} {:?}", read, written);
            }
            prop_assert_eq!(encode(&decode(&encode(&rules).unwrap()).unwrap()), encode(&rules));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,200}") {
            let _ = decode(&format!("<LifecycleConfiguration><Rule>{text}"));
            let _ = decode(&text);
        }
    }

    /// As AWS answers, with what this crate knows nothing of.
    const FOREIGN: &str = "<Rule><ID>theirs</ID><Filter><And><Prefix>audit/</Prefix><Tag><Key>k\
         </Key><Value>v</Value></Tag></And></Filter><Status>Enabled</Status><Transition><Days>1</Days>\
         <StorageClass>STANDARD_IA</StorageClass></Transition><NoncurrentVersionTransition>\
         <NoncurrentDays>3</NoncurrentDays><StorageClass>GLACIER</StorageClass>\
         </NoncurrentVersionTransition><Transition><Date>2030-01-01T00:00:00Z</Date><StorageClass>\
         DEEP_ARCHIVE</StorageClass></Transition><Expiration><Date>2031-01-01T00:00:00Z</Date>\
         </Expiration></Rule>";

    #[test]
    fn what_is_not_understood_is_kept_word_by_word() {
        let document = format!(
            "<?xml version=\"1.0\"?>\n<LifecycleConfiguration xmlns=\"{NAMESPACE}\">{FOREIGN}\
             </LifecycleConfiguration>"
        );
        let rules = decode(&document).unwrap();
        let [rule] = rules.as_slice() else { panic!("{rules:?}") };
        assert_eq!((rule.id(), rule.prefix()), ("theirs", "audit/"));
        assert!(rule.is_narrowed() && rule.is_enabled());
        assert_eq!(rule.expiration(), Some(&Expiration::Date("2031-01-01T00:00:00Z".into())));
        assert_eq!(rule.transitions().len(), 2);
        assert!(encode(&rules).unwrap().contains(FOREIGN));
    }

    #[test]
    fn old_and_odd_shapes_are_read() {
        let read = |inner: &str| {
            decode(&format!("<LifecycleConfiguration>{inner}</LifecycleConfiguration>"))
        };
        let rules = read(
            "<Rule><Prefix>a/</Prefix><Status>Disabled</Status><Expiration>\
             <ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration></Rule>",
        )
        .unwrap();
        assert_eq!((rules[0].id(), rules[0].prefix()), ("", "a/"));
        assert!(!rules[0].is_enabled());
        assert_eq!(rules[0].expiration(), Some(&Expiration::DeleteMarkers));
        let rules = read("<Rule><ID>x</ID><Filter/><Status>Enabled</Status></Rule>").unwrap();
        assert_eq!((rules[0].prefix(), rules[0].is_narrowed()), ("", false));
        let sized = "<Filter><ObjectSizeLessThan>9</ObjectSizeLessThan></Filter>";
        let rules = read(&format!("<Rule>{sized}<Status>Enabled</Status></Rule>")).unwrap();
        assert!(rules[0].is_narrowed());
        assert!(read("").unwrap().is_empty());
        assert!(decode("<LifecycleConfiguration/>").unwrap().is_empty());
        for text in ["", "no document", "<Error><Code>x</Code></Error>"] {
            assert!(decode(text).is_none(), "{text}");
        }
        assert!(read("<Rule><Status>Enabled").is_none(), "cut");
    }
}
