//! Reading the file that a `NAME_FILE` variable names.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use super::problem::ProblemKind;

/// Largest file that is read, in bytes.
pub(super) const LARGEST: u64 = 1 << 20;

/// Why a file gave no text. Names neither the path nor the content: somebody may have put the
/// secret itself where the path belongs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) kind: ProblemKind,
    pub(super) hint: String,
}

impl Refusal {
    fn new(kind: ProblemKind, hint: impl Into<String>) -> Self {
        Self { kind, hint: hint.into() }
    }
}

/// The text of a file without one line end at its end.
pub(super) fn read(path: &Path) -> Result<String, Refusal> {
    let mut text = read_bounded(path)?;
    for end in ["\r\n", "\n"] {
        if let Some(rest) = text.strip_suffix(end) {
            text.truncate(rest.len());
            break;
        }
    }
    if text.is_empty() {
        return Err(Refusal::new(ProblemKind::Unreadable, "the file is empty"));
    }
    Ok(text)
}

/// The text of a file of at most [`LARGEST`] bytes.
pub(super) fn read_bounded(path: &Path) -> Result<String, Refusal> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes))
        .map_err(|error| Refusal::new(ProblemKind::Unreadable, explain(&error)))?;
    if bytes.len() as u64 > LARGEST {
        let hint = format!("the file is larger than {LARGEST} bytes");
        return Err(Refusal::new(ProblemKind::OutOfRange, hint));
    }
    String::from_utf8(bytes)
        .map_err(|_| Refusal::new(ProblemKind::Malformed, "the file is not UTF-8 text"))
}

fn explain(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "no such file: is it mounted?".into(),
        ErrorKind::PermissionDenied => {
            "permission denied: let the user of this process read the file".into()
        }
        ErrorKind::IsADirectory => "it is a directory: name the file in it".into(),
        kind => format!("the system says: {kind}"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn one_line_end_is_not_part_of_the_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        for (content, expected) in [
            ("a", "a"),
            ("a\n", "a"),
            ("a\r\n", "a"),
            ("a\n\n", "a\n"),
            (" a \n", " a "),
            ("a\r", "a\r"),
        ] {
            fs::write(&path, content).unwrap();
            assert_eq!(read(&path).as_deref(), Ok(expected), "{content:?}");
        }
    }

    #[test]
    fn what_cannot_be_a_secret_is_refused_without_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hunter2");
        let refusal = |path: &Path| read(path).unwrap_err();
        assert_eq!(refusal(&path).kind, ProblemKind::Unreadable);
        assert_eq!(refusal(folder.path()).hint, "it is a directory: name the file in it");
        fs::write(&path, "\n").unwrap();
        assert_eq!(refusal(&path).hint, "the file is empty");
        fs::write(&path, b"\xffhunter2").unwrap();
        assert_eq!(refusal(&path).kind, ProblemKind::Malformed);
        fs::write(&path, vec![b'x'; 1 + LARGEST as usize]).unwrap();
        let refusal = refusal(&path);
        assert_eq!(refusal.kind, ProblemKind::OutOfRange);
        assert!(!refusal.hint.contains("hunter2"));
    }
}
