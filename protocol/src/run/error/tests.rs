//! Errors in bytes and in text, those of before included.

use super::*;

/// As errors were written before they had details and causes.
#[derive(Serialize, Deserialize)]
struct Before {
    code: String,
    message: String,
    step: Option<StepPath>,
    attempt: u32,
    retryable: bool,
}

fn full() -> RunError {
    let cause = |step: Option<&str>| ErrorCause {
        code: "timeout".into(),
        message: "late".into(),
        step: step.map(|path| StepPath(path.into())),
    };
    RunError {
        step: Some(StepPath("a#1".into())),
        attempt: 300,
        details: Some(JsonText::parse("{\"n\":1}").unwrap()),
        causes: vec![cause(None), cause(Some("b"))],
        ..RunError::new("user.x", "no")
    }
}

#[test]
fn bytes_from_before_are_read_and_written_as_ever() {
    for retryable in [false, true] {
        let before = Before {
            code: "plugin.trap".into(),
            message: "é".into(),
            step: Some(StepPath("a/b".into())),
            attempt: 7,
            retryable,
        };
        let bytes = postcard::to_allocvec(&before).unwrap();
        let error: RunError = postcard::from_bytes(&bytes).unwrap();
        assert_eq!((error.attempt, error.retryable, error.causes.len()), (7, retryable, 0));
        assert_eq!(postcard::to_allocvec(&error).unwrap(), bytes);
    }
}

#[test]
fn everything_comes_back_from_bytes_and_text() {
    let only_details = RunError { causes: Vec::new(), ..full() };
    let only_causes = RunError { details: None, retryable: true, ..full() };
    for error in [full(), only_details, only_causes, RunError::new("cancelled", "")] {
        let bytes = postcard::to_allocvec(&vec![error.clone(), error.clone()]).unwrap();
        let back: Vec<RunError> = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(back, [error.clone(), error.clone()]);
        for cut in 0..bytes.len() {
            assert!(postcard::from_bytes::<Vec<RunError>>(&bytes[..cut]).is_err(), "{cut}");
        }
        let text = serde_json::to_string(&error).unwrap();
        assert_eq!(serde_json::from_str::<RunError>(&text).unwrap(), error);
    }
    let short: RunError = serde_json::from_str(r#"{"code": "a", "message": "b"}"#).unwrap();
    assert_eq!(short, RunError::new("a", "b"));
}

#[test]
fn parts_that_are_not_known_are_refused() {
    let mut bytes = postcard::to_allocvec(&RunError::new("a", "b")).unwrap();
    *bytes.last_mut().unwrap() = 4;
    assert!(postcard::from_bytes::<RunError>(&bytes).is_err());
}
