//! Schemas of what the bodies hold that is written as text: only for descriptions, nothing else uses these types.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{JoinTokenRequest, NodePatch};

macro_rules! inline {
    ($(#[doc = $doc:literal] $name:ident => $schema:tt;)*) => {
        $(
            #[doc = $doc]
            #[derive(Debug)]
            pub struct $name;

            impl JsonSchema for $name {
                fn inline_schema() -> bool {
                    true
                }

                fn schema_name() -> Cow<'static, str> {
                    stringify!($name).into()
                }

                fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
                    json_schema!($schema)
                }
            }
        )*
    };
}

inline! {
    /// An id of a job.
    JobIdText => {"type": "string", "pattern": "^job_[0-7][0-9A-HJKMNP-TV-Z]{25}$"};
    /// An id of an instance.
    InstanceIdText => {"type": "string", "pattern": "^ins_[0-7][0-9A-HJKMNP-TV-Z]{25}$"};
    /// An id of a cluster.
    ClusterIdText => {"type": "string", "pattern": "^cl_[0-7][0-9A-HJKMNP-TV-Z]{25}$"};
    /// An id of a worker.
    NodeIdText => {"type": "string", "pattern": "^node_[0-7][0-9A-HJKMNP-TV-Z]{25}$"};
    /// An id of an event.
    EventIdText => {"type": "string", "pattern": "^evt_[0-7][0-9A-HJKMNP-TV-Z]{25}$"};
    /// An id of a join token.
    JoinTokenIdText => {"type": "string", "pattern": "^join_[0-7][0-9A-HJKMNP-TV-Z]{25}$"};
    /// An id of who joins: a worker or a cluster.
    JoinedIdText => {"type": "string", "pattern": "^(node|cl)_[0-7][0-9A-HJKMNP-TV-Z]{25}$"};
    /// The secret of a join token.
    SecretText => {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,100}$"};
    /// A request for a certificate, as PEM.
    CertificateRequest => {"type": "string", "pattern": "^\\s*-----BEGIN CERTIFICATE REQUEST-----", "maxLength": 8192};
    /// An id of a user's token, or of an invitation.
    TokenIdText => {"type": "string", "pattern": "^tok_[0-7][0-9A-HJKMNP-TV-Z]{25}$"};
    /// Which value of a secret.
    SecretVersionText => {"type": "string", "pattern": "^sec_[0-7][0-9A-HJKMNP-TV-Z]{25}$"};
    /// A path of a tenant.
    TenantPathText => {"type": "string", "pattern": "^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?(/[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?){0,7}$",
        "examples": ["university/lab"]};
    /// What a user is at a tenant, and at all below it.
    TenantRole => {"type": "string", "enum": ["viewer", "deployer", "operator", "admin", "auditor"]};
    /// The same, or null for nothing.
    TenantRoleOrNone => {"type": ["string", "null"], "enum": ["viewer", "deployer", "operator", "admin", "auditor", null]};
    /// A password that is to be.
    PasswordText => {"type": "string", "format": "password", "minLength": 12, "maxLength": 256};
    /// A password that is said to be one.
    EnteredText => {"type": "string", "format": "password", "minLength": 1, "maxLength": 256};
    /// How long a token lasts.
    LifeText => {"type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$", "examples": ["30d"]};
    /// A time, RFC 3339 in UTC.
    Time => {"type": "string", "format": "date-time"};
    /// A generation: assignment, placement.
    Pair => {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 2, "maxItems": 2};
    /// A role of an instance.
    RoleWord => {"type": "string", "enum": ["holder", "successor", "dangling", "leaving"]};
    /// What a health check says.
    HealthWord => {"type": "string", "enum": ["starting", "healthy", "unhealthy"]};
    /// A transport of a port.
    TransportWord => {"type": "string", "enum": ["tcp", "udp"]};
    /// A name of a job, service, cluster or worker.
    Name => {"type": "string", "pattern": "^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$"};
    /// A duration within the bounds of a report interval.
    ReportInterval => {"type": "string", "pattern": "^0*(?:(?:[1-9][0-9]{2,5}|[12][0-9]{6}|3[0-5][0-9]{5}|3600000)ms|(?:[1-9][0-9]{0,2}|[12][0-9]{3}|3[0-5][0-9]{2}|3600)s|(?:[1-9]|[1-5][0-9]|60)m|1h)$",
        "description": "How often the worker reports, 100ms to 1h.", "examples": ["5s"]};
}

impl JsonSchema for NodePatch {
    fn schema_name() -> Cow<'static, str> {
        "NodePatch".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "What to change of a worker.",
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "labels": {
                    "description": "Labels to set; null removes the one that an operator set.",
                    "type": ["object", "null"],
                    "propertyNames": {"pattern": "^[A-Za-z0-9_./-]{1,253}$"},
                    "additionalProperties": {"type": ["string", "null"], "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]{0,253}$"},
                },
                "report_interval": generator.subschema_for::<Option<ReportInterval>>(),
            },
        })
    }
}

impl JsonSchema for JoinTokenRequest {
    fn schema_name() -> Cow<'static, str> {
        "JoinTokenRequest".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "What a join token is to be good for.",
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "uses": {"description": "How many machines may join with it.", "type": ["integer", "null"],
                    "minimum": 1, "maximum": 10_000, "default": 1},
                "ttl": {"description": "How long it lives, 1s to 720h.", "type": ["string", "null"],
                    "pattern": "^[1-9][0-9]{0,4}(s|m)$|^([1-9][0-9]?|[1-6][0-9]{2}|7[01][0-9]|720)h$", "default": "1h"},
            },
        })
    }
}
