//! Joining: a secret and a request for a certificate go in, a certificate comes back.

use std::fmt;

use model::id::JoinTokenId;
use model::time::Wall;
use serde::{Deserialize, Serialize};

use super::request::known;
use crate::document::fields::Fields;
use crate::document::{Fault, Faults, Format, parse_one};
use crate::time::rfc3339;

/// Characters of a secret at most.
const SECRET: usize = 100;
/// Bytes of a request for a certificate at most, as PEM.
const REQUEST: usize = 8 * 1024;
/// An example of a request for a certificate, for those who left it out.
const EXAMPLE: &str = "\"-----BEGIN CERTIFICATE REQUEST-----\\n…\"";

/// `POST /join`: a worker asks its cluster, a cluster asks its root.
///
/// The same request again, after an answer that was lost, gets the same id and takes no further use of the token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "openapi", schemars(deny_unknown_fields))]
pub struct JoinRequest {
    /// Which token it is.
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "crate::rest::schema::JoinTokenIdText")
    )]
    pub token_id: JoinTokenId,
    /// What only the token's holder knows, in base64url.
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "crate::rest::schema::SecretText")
    )]
    pub secret: String,
    /// The request for a certificate (PKCS#10) as PEM; of it only the key counts.
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "crate::rest::schema::CertificateRequest")
    )]
    pub request: String,
}

/// `POST /join/renew`, over TLS with the certificate that is to be renewed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "openapi", schemars(deny_unknown_fields))]
pub struct RenewRequest {
    /// The request for a certificate (PKCS#10) as PEM; of it only the key counts.
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "crate::rest::schema::CertificateRequest")
    )]
    pub request: String,
}

/// Who joined, and by what it proves that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct JoinedBody {
    /// The id of the worker or cluster: the same for the same key.
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "crate::rest::schema::JoinedIdText")
    )]
    pub id: String,
    /// Its certificate as PEM.
    pub certificate: String,
    /// The certificate of the authority that issued it, as PEM; servers that it dials have theirs from there, too.
    pub authority: String,
    /// When the certificate ends, by the clock of the issuer.
    #[serde(with = "rfc3339")]
    #[cfg_attr(feature = "openapi", schemars(with = "crate::rest::schema::Time"))]
    pub expires_at: Wall,
}

impl fmt::Debug for JoinRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinRequest")
            .field("token_id", &self.token_id)
            .finish_non_exhaustive()
    }
}

impl JoinRequest {
    /// Reads a body. Whether the token is one, and the request signed, is for those who decide about it.
    ///
    /// # Errors
    /// With all faults; none of them repeats the secret.
    pub fn parse(body: &[u8], format: Format) -> Result<Self, Vec<Fault>> {
        parse_one(body, format, |root, faults| {
            let fields = known(root, &["token_id", "secret", "request"], faults)?;
            let token_id = token_id(&fields, faults);
            let secret = secret(&fields, faults);
            let request = request(&fields, faults);
            Some(Self {
                token_id: token_id?,
                secret: secret?,
                request: request?,
            })
        })
    }
}

impl RenewRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// With all faults.
    pub fn parse(body: &[u8], format: Format) -> Result<Self, Vec<Fault>> {
        parse_one(body, format, |root, faults| {
            let fields = known(root, &["request"], faults)?;
            Some(Self {
                request: request(&fields, faults)?,
            })
        })
    }
}

fn token_id(fields: &Fields<'_>, faults: &mut Faults) -> Option<JoinTokenId> {
    let spot = fields.require("token_id", "join_01ARZ3NDEKTSV4RRFFQ69G5FAV", faults)?;
    let read = spot.text(faults)?.parse();
    if read.is_err() {
        let message = "is no id of a join token; write it as join_01ARZ3NDEKTSV4RRFFQ69G5FAV";
        spot.fault(faults, message);
    }
    read.ok()
}

fn secret(fields: &Fields<'_>, faults: &mut Faults) -> Option<String> {
    let spot = fields.require("secret", "\"…\", the last part of the token", faults)?;
    let text = spot.text(faults)?;
    let of_base64 = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if text.is_empty() || text.len() > SECRET || !text.chars().all(of_base64) {
        let message = format!(
            "must be the last part of a join token: 1 to {SECRET} characters of A-Z a-z 0-9 _ -"
        );
        spot.fault(faults, message);
        return None;
    }
    Some(text.to_owned())
}

fn request(fields: &Fields<'_>, faults: &mut Faults) -> Option<String> {
    let spot = fields.require("request", EXAMPLE, faults)?;
    let text = spot.text(faults)?;
    if text.len() > REQUEST {
        let message = format!("a request for a certificate has at most {REQUEST} bytes as PEM");
        spot.fault(faults, message);
        return None;
    }
    if !text
        .trim_start()
        .starts_with("-----BEGIN CERTIFICATE REQUEST-----")
    {
        let message = format!("is no request for a certificate; write it as PEM: {EXAMPLE}");
        spot.fault(faults, message);
        return None;
    }
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use proptest::prelude::*;

    use super::*;

    const CSR: &str =
        "-----BEGIN CERTIFICATE REQUEST-----\nMIHH\n-----END CERTIFICATE REQUEST-----\n";

    fn joining() -> JoinRequest {
        JoinRequest {
            token_id: JoinTokenId::from_bits(1),
            secret: "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc".to_owned(),
            request: CSR.to_owned(),
        }
    }

    fn joined() -> JoinedBody {
        JoinedBody {
            id: "node_00000000000000000000000007".to_owned(),
            certificate: "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
                .to_owned(),
            authority: "-----BEGIN CERTIFICATE-----\nMIIC\n-----END CERTIFICATE-----\n".to_owned(),
            expires_at: Wall(1_793_880_000_000),
        }
    }

    #[test]
    fn requests_are_written_as_clients_write_them_and_read_from_it() {
        let text = serde_json::to_string_pretty(&joining()).unwrap();
        expect![[r#"
            {
              "token_id": "join_00000000000000000000000001",
              "secret": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc",
              "request": "-----BEGIN CERTIFICATE REQUEST-----\nMIHH\n-----END CERTIFICATE REQUEST-----\n"
            }"#]]
        .assert_eq(&text);
        let read = JoinRequest::parse(text.as_bytes(), Format::Json);
        assert_eq!(read, Ok(joining()));
        let renewing = RenewRequest {
            request: CSR.to_owned(),
        };
        let text = serde_json::to_string(&renewing).unwrap();
        expect![[r#"{"request":"-----BEGIN CERTIFICATE REQUEST-----\nMIHH\n-----END CERTIFICATE REQUEST-----\n"}"#]]
            .assert_eq(&text);
        let read = RenewRequest::parse(text.as_bytes(), Format::Json);
        assert_eq!(read, Ok(renewing));
    }

    #[test]
    fn an_answer_is_written_as_clients_read_it() {
        let mut value = serde_json::to_value(joined()).unwrap();
        expect![[r#"
            {
              "authority": "-----BEGIN CERTIFICATE-----\nMIIC\n-----END CERTIFICATE-----\n",
              "certificate": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
              "expires_at": "2026-11-05T12:00:00.000Z",
              "id": "node_00000000000000000000000007"
            }"#]]
        .assert_eq(&format!("{value:#}"));
        value["field_of_a_later_issue"] = true.into();
        assert_eq!(
            serde_json::from_value::<JoinedBody>(value).unwrap(),
            joined()
        );
    }

    #[test]
    fn what_is_no_request_is_refused_where_it_is_wrong() {
        let of = |field: &str, value: serde_json::Value| {
            let mut body = serde_json::to_value(joining()).unwrap();
            body[field] = value;
            let faults = JoinRequest::parse(body.to_string().as_bytes(), Format::Json);
            faults.map_err(|faults| (faults.len(), faults[0].path.clone()))
        };
        let long = format!("{CSR}{}", "x".repeat(REQUEST));
        for (field, value) in [
            ("token_id", "tok_00000000000000000000000001".into()),
            ("token_id", 7.into()),
            ("secret", "".into()),
            ("secret", "a b".into()),
            ("secret", "a".repeat(SECRET + 1).into()),
            ("request", "MIHH".into()),
            ("request", serde_json::Value::Null),
            ("request", long.into()),
            ("requests", CSR.into()),
        ] {
            let told = (1, field.to_owned());
            assert_eq!(of(field, value.clone()), Err(told), "{field} {value}");
        }
        assert_eq!(of("secret", "a".repeat(SECRET).into()).map(drop), Ok(()));
        assert_eq!(
            JoinRequest::parse(b"{}", Format::Json).unwrap_err().len(),
            3
        );
        assert!(RenewRequest::parse(b"", Format::Json).is_err());
    }

    #[test]
    fn nothing_that_is_printed_has_the_secret() {
        assert!(!format!("{:?}", joining()).contains(&joining().secret));
        let mut body = serde_json::to_value(joining()).unwrap();
        let secret = format!("{} {}", joining().secret, "x".repeat(SECRET));
        body["secret"] = secret.into();
        let faults = JoinRequest::parse(body.to_string().as_bytes(), Format::Json).unwrap_err();
        assert!(!format!("{faults:?}").contains(&joining().secret));
    }

    proptest! {
        #[test]
        fn no_body_breaks_the_readers(body in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = JoinRequest::parse(&body, Format::Json);
            let _ = RenewRequest::parse(&body, Format::Yaml);
            let _ = serde_json::from_slice::<JoinedBody>(&body);
        }

        #[test]
        fn an_answer_with_any_texts_survives(id in ".*", certificate in ".*", authority in ".*") {
            let body = JoinedBody { id, certificate, authority, ..joined() };
            let text = serde_json::to_vec(&body).unwrap();
            prop_assert_eq!(serde_json::from_slice::<JoinedBody>(&text).unwrap(), body);
            // Cut off anywhere, it is none.
            for cut in 0..text.len() {
                prop_assert!(serde_json::from_slice::<JoinedBody>(&text[..cut]).is_err());
            }
        }
    }
}
