//! What the engine's refusals mean.

use bollard::errors::Error;

use crate::runtime::StartError;

/// The engine's status code, when it was the engine that answered.
pub(super) fn status(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

pub(super) fn is_image_missing(error: &Error) -> bool {
    status(error) == Some(404) && error.to_string().to_lowercase().contains("no such image")
}

/// Stopping what has stopped (304) and removing what is gone (404, or 409 while it goes) is what was wanted.
pub(super) fn gone_is_fine(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(error) if matches!(status(&error), Some(304 | 404)) => Ok(()),
        Err(error)
            if status(&error) == Some(409) && error.to_string().contains("already in progress") =>
        {
            Ok(())
        }
        other => other,
    }
}

pub(super) fn start_failed(subject: &str, error: Error) -> StartError {
    let text = error.to_string();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if status(&error).is_none() || says(&["no space left on device"]) {
        return StartError::Fault {
            operation: format!("start {subject}"),
            source: error.into(),
        };
    }
    let advice = if says(&["port is already allocated", "address already in use"]) {
        "free the host port, or leave it out to have one chosen"
    } else if says(&[
        "executable file not found",
        "no such file or directory",
        "permission denied",
    ]) {
        "check command and args against what the image holds"
    } else {
        "check the service's fields against the engine's words"
    };
    StartError::Start {
        subject: subject.to_owned(),
        advice,
        source: error.into(),
    }
}
