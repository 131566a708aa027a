//! Secrets: their values go in and never come out.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use model::id::SecretVersion;
use model::secret::{Secret, SecretBook, SecretKind};
use model::time::Wall;
use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Serialize, Serializer};

use super::request::known;
use crate::document::{Fault, Faults, Format, Spot, parse_one};
use crate::time::rfc3339;

/// The fields of the body.
const FIELDS: &[&str] = &["value", "value_base64", "registry", "username", "password"];
/// Longest name of a user at a registry.
const USERNAME: usize = 255;

/// A secret, without its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct SecretBody {
    /// Unique in its tenant.
    pub name: String,
    /// Whose it is.
    pub tenant: String,
    /// `value`, or `registry`: a login for pulling images.
    pub kind: String,
    /// The registry of a login.
    #[serde(default)]
    pub registry: Option<String>,
    /// Which value it has; jobs keep the one that there was when their document was applied.
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "crate::rest::schema::SecretVersionText")
    )]
    pub version: SecretVersion,
    /// Who set it.
    pub updated_by: String,
    /// When it was made.
    #[serde(with = "rfc3339")]
    #[cfg_attr(feature = "openapi", schemars(with = "crate::rest::schema::Time"))]
    pub created_at: Wall,
    /// When its value was set.
    #[serde(with = "rfc3339")]
    #[cfg_attr(feature = "openapi", schemars(with = "crate::rest::schema::Time"))]
    pub updated_at: Wall,
}

impl From<&Secret> for SecretBody {
    fn from(secret: &Secret) -> Self {
        let registry = match &secret.kind {
            SecretKind::Value => None,
            SecretKind::Registry(name) => Some(name.clone()),
        };
        Self {
            name: secret.name.to_string(),
            tenant: secret.tenant.to_string(),
            kind: secret.kind.as_str().to_owned(),
            registry,
            version: secret.sealed.version,
            updated_by: secret.by.clone(),
            created_at: secret.created_at,
            updated_at: secret.updated_at,
        }
    }
}

/// `PUT /secrets/{secret}`: its value, which nothing prints.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretRequest {
    /// For applications.
    Value(Vec<u8>),
    /// A login at a registry.
    Registry {
        /// As in references of images.
        registry: String,
        /// Who logs in.
        username: String,
        /// Its password or token.
        password: String,
    },
}

impl fmt::Debug for SecretRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Value(_) => "SecretRequest::Value",
            Self::Registry { .. } => "SecretRequest::Registry",
        })
    }
}

impl Serialize for SecretRequest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Value(value) => {
                let mut fields = serializer.serialize_struct("SecretRequest", 1)?;
                match std::str::from_utf8(value) {
                    Ok(text) if !text.contains('\0') => fields.serialize_field("value", text)?,
                    _ => fields.serialize_field("value_base64", &BASE64.encode(value))?,
                }
                fields.end()
            }
            Self::Registry {
                registry,
                username,
                password,
            } => {
                let mut fields = serializer.serialize_struct("SecretRequest", 3)?;
                fields.serialize_field("registry", registry)?;
                fields.serialize_field("username", username)?;
                fields.serialize_field("password", password)?;
                fields.end()
            }
        }
    }
}

/// The fields of the body, for its description.
#[cfg(feature = "openapi")]
#[derive(schemars::JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "it only describes")]
struct Described {
    /// The value, as text.
    value: Option<String>,
    /// The value, where it is no text: base64.
    value_base64: Option<String>,
    /// Of a login instead: the registry as in references of images, `ghcr.io` or `10.0.0.1:5000`.
    registry: Option<String>,
    /// Who logs in there.
    username: Option<String>,
    /// Its password or token.
    password: Option<String>,
}

#[cfg(feature = "openapi")]
impl schemars::JsonSchema for SecretRequest {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SecretRequest".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Described::json_schema(generator)
    }
}

impl SecretRequest {
    /// Reads a body. No fault repeats a value.
    ///
    /// # Errors
    /// With all faults.
    pub fn parse(body: &[u8], format: Format) -> Result<Self, Vec<Fault>> {
        parse_one(body, format, |root, faults| {
            let fields = known(root, FIELDS, faults)?;
            let given: Vec<&str> = ["value", "value_base64", "registry"]
                .into_iter()
                .filter(|name| fields.get(name).is_some())
                .collect();
            match given.as_slice() {
                ["value"] => {
                    let spot = fields.get("value")?;
                    let text = spot.secret(faults)?;
                    sized(&spot, text.as_bytes().to_vec(), faults).map(Self::Value)
                }
                ["value_base64"] => {
                    let spot = fields.get("value_base64")?;
                    let text = spot.secret(faults)?;
                    let Ok(value) = BASE64.decode(text.trim()) else {
                        spot.fault(faults, "is no base64; write what `base64 -w0 FILE` prints");
                        return None;
                    };
                    sized(&spot, value, faults).map(Self::Value)
                }
                ["registry"] => {
                    let registry = fields.get("registry")?;
                    let username = fields.require("username", "bob", faults);
                    let password = fields.require("password", "\"…\"", faults);
                    let name = registry.text(faults)?.to_owned();
                    if !is_registry(&name) {
                        registry.fault(
                            faults,
                            "is no registry; write its name as in references of images: ghcr.io, 10.0.0.1:5000, docker.io",
                        );
                        return None;
                    }
                    let user = username?;
                    let username = user.text(faults)?.to_owned();
                    if username.len() > USERNAME
                        || username.contains(['\n', ':'])
                        || username.is_empty()
                    {
                        user.fault(
                            faults,
                            "has 1 to 255 bytes, none of them a colon or line end",
                        );
                        return None;
                    }
                    let spot = password?;
                    let password = spot.secret(faults)?.as_bytes().to_vec();
                    let password = String::from_utf8(sized(&spot, password, faults)?).ok()?;
                    Some(Self::Registry {
                        registry: name,
                        username,
                        password,
                    })
                }
                _ => {
                    faults.add(
                        &fields.path,
                        fields.at,
                        "needs one of value, value_base64, and registry with username and password",
                    );
                    None
                }
            }
        })
    }
}

fn sized(spot: &Spot<'_>, value: Vec<u8>, faults: &mut Faults) -> Option<Vec<u8>> {
    if (1..=SecretBook::LARGEST).contains(&value.len()) {
        return Some(value);
    }
    let message = format!(
        "has {} bytes, and a secret has 1 to {}",
        value.len(),
        SecretBook::LARGEST
    );
    spot.fault(faults, message);
    None
}

/// Whether it can stand before the first `/` of an image's reference, or is `docker.io`.
fn is_registry(name: &str) -> bool {
    (1..=255).contains(&name.len())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '-' | '[' | ']'))
        && (name.contains(['.', ':']) || name == "localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<SecretRequest, Vec<Fault>> {
        SecretRequest::parse(body.as_bytes(), Format::Yaml)
    }

    #[test]
    fn a_value_survives_its_body() {
        let login = SecretRequest::Registry {
            registry: "10.0.0.1:5000".to_owned(),
            username: "bob".to_owned(),
            password: "of two\nlines".to_owned(),
        };
        for request in [
            SecretRequest::Value(b"text".to_vec()),
            SecretRequest::Value(b"bytes \0\xff".to_vec()),
            login,
        ] {
            let json = serde_json::to_vec(&request).unwrap();
            assert_eq!(SecretRequest::parse(&json, Format::Json), Ok(request));
        }
        assert_eq!(
            read("value_base64: aGVsbG8="),
            Ok(SecretRequest::Value(b"hello".to_vec()))
        );
    }

    #[test]
    fn what_is_no_secret_is_refused_and_never_repeated() {
        let long = format!("value: {}", "hunter2".repeat(5_000));
        for (bad, fragment) in [
            ("", "is empty"),
            ("{}", "needs one of"),
            ("value: hunter2\nvalue_base64: aGVsbG8=", "needs one of"),
            ("value: ''", "1 to 32768"),
            ("value: [hunter2]", "must be a text"),
            ("value: 72", "write it in quotes"),
            ("value_base64: hunter2!", "base64"),
            (&long, "1 to 32768"),
            ("registry: ghcr.io", "username"),
            ("registry: ghcr.io\nusername: bob", "password"),
            (
                "registry: ghcr\nusername: bob\npassword: hunter2",
                "is no registry",
            ),
            (
                "registry: ghcr.io\nusername: 'a:b'\npassword: hunter2",
                "colon",
            ),
            ("secret: hunter2", "unknown field"),
        ] {
            let faults = read(bad).unwrap_err();
            let text = format!("{faults:?}");
            assert!(text.contains(fragment), "{bad}: {text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
        assert!(!format!("{:?}", SecretRequest::Value(b"hunter2".to_vec())).contains("104"));
    }
}
