//! `Prefer` (RFC 7240).

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use serde_json::json;

use crate::api::{Input, Taken};

/// The preference of who would rather be sent elsewhere than be served through somebody else.
const REDIRECT: &str = "redirect";

/// Whether `Prefer` names `redirect`. An extractor that never refuses: what is preferred may be left undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrefersRedirect(pub bool);

impl PrefersRedirect {
    /// What these headers prefer.
    fn of(headers: &HeaderMap) -> Self {
        let texts = headers.get_all("prefer").iter();
        let texts = texts.filter_map(|value| value.to_str().ok());
        let mut all = texts.flat_map(|text| parts(text, ','));
        // Of a preference that is named twice the first one counts.
        Self(all.find_map(redirect).unwrap_or(false))
    }
}

/// Whether that is the preference, and without a value that nobody here knows; `None`: it is another one.
fn redirect(preference: &str) -> Option<bool> {
    let named = parts(preference, ';').next().unwrap_or_default();
    let (name, value) = named.split_once('=').unwrap_or((named, ""));
    // An empty value is none.
    let plain = matches!(value.trim(), "" | "\"\"");
    let is = name.trim().eq_ignore_ascii_case(REDIRECT);
    is.then_some(plain)
}

/// The parts of a text between separators that do not stand in quotes.
fn parts(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c: char| {
        let literal = std::mem::take(&mut escaped);
        match c {
            '\\' if quoted && !literal => escaped = true,
            '"' if !literal => quoted = !quoted,
            _ => return c == separator && !quoted,
        }
        false
    })
}

impl<S: Sync> FromRequestParts<S> for PrefersRedirect {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}

impl Input for PrefersRedirect {
    fn describe(taken: &mut Taken) {
        taken.header(
            "Prefer",
            "With `redirect` (RFC 7240): be sent there, where that can be reached, instead of being served from here.",
            json!({"type": "string", "examples": [REDIRECT]}),
        );
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_preference_stands_alone_or_in_a_list_of_others() {
        let table: &[(&[&str], bool)] = &[
            (&[], false),
            (&[""], false),
            (&["redirect"], true),
            (&["Redirect"], true),
            (&["  redirect  "], true),
            (&["respond-async, redirect"], true),
            (&["redirect, wait=10"], true),
            (&["wait=10,redirect;foo=bar"], true),
            (&["respond-async", "redirect"], true),
            (&[",,redirect,"], true),
            (&["redirect=\"\""], true),
            (&["redirect = "], true),
            (&["redirect; foo"], true),
            (&["redirect=never"], false),
            (&["redirect=never, redirect"], false),
            (&["redirect, redirect=never"], true),
            (&["redirects"], false),
            (&["no-redirect"], false),
            (&["return=redirect"], false),
            (&["handling=lenient; redirect"], false),
            (&["foo=\"a, redirect\""], false),
            (&["foo=\"a\\\", redirect\""], false),
            (&["foo=\"a\\\\\", redirect"], true),
            (&["foo=\"never ends, redirect"], false),
        ];
        for (values, expected) in table {
            let mut headers = HeaderMap::new();
            for value in *values {
                headers.append("prefer", HeaderValue::from_str(value).unwrap());
            }
            assert_eq!(PrefersRedirect::of(&headers).0, *expected, "{values:?}");
        }
        let mut headers = HeaderMap::new();
        headers.append(
            "prefer",
            HeaderValue::from_bytes(b"\xff, redirect").unwrap(),
        );
        assert!(!PrefersRedirect::of(&headers).0, "what cannot be read");
    }
}
