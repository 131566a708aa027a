//! What comes to join: bodies, requests for certificates, and tokens.

use std::time::Duration;

use serde_json::{Value, json};

use super::exchange::request;
use super::program::Call;
use super::refusal::{Refusal, ask, fault, problem};
use super::rig::{Rig, Tier};
use super::row::{Row, Verdict};

/// Options that mean nothing.
const CONFIG: i32 = 64;
/// Something that may be another time.
const FAILED: i32 = 1;
/// What is said of a server that another authority is behind.
const NOT_ITS: &str = "is not the one this token was made by";

/// A good request.
const GOOD: &str = "-----BEGIN CERTIFICATE REQUEST-----\nMIHGMG4CAQAwDDEKMAgGA1UEAwwBeDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IA\nBMy0y+0BcsIgBgTWNvJzlhA3u4bdlkLvUhay8QefFnYCNmNCWPUKr9hAzACm27+V\nkYBFBBUVQH3aPeNFvsjynjSgADAKBggqhkjOPQQDAgNIADBFAiB4D/lgMt6+8Xlq\nTzq7psZQQAvxiZnOAzzWzTuTWyT5FgIhALzMxb9n6w4PQmz3R2/swU4yFQSVicOG\nB4C0FcSzVNww\n-----END CERTIFICATE REQUEST-----\n";
/// A request by a key of 2,048 bits of RSA.
const RSA: &str = "-----BEGIN CERTIFICATE REQUEST-----\nMIIBSzCBtQIBADAMMQowCAYDVQQDDAF4MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCB\niQKBgQDIlTQGwRjf/Antop9utc38wJ7GKcdeb6B9W0YESUJUxdRA64IsOqHVISCb\nQJKy480MdZl02JDWnE1Ayl1iv4vpIo5T6sxBJOUn/xUCADnAdCOJj7RF2tMNi81B\nWqz8yOmyMQaqjL7d3LPIGaQcCOiz3LbGBPVIrz0w/0vLjhzwGQIDAQABoAAwDQYJ\nKoZIhvcNAQELBQADgYEAEHaHMDkAOxT+Lujsk3sYmdH8PUhM2MBve6JXcWCiB1cQ\nxNcIocfDExAPAGZnMiSsJs1nnGAlTkOCtnwez02qc3Ea9pMQtrPzyal05ih8GQv5\nm2tkbJZVilkXwQlBFCPML5tEWQjTyT6DUojI2FMmMce7YFnnd9XiO3Gt6DaIVRo=\n-----END CERTIFICATE REQUEST-----\n";
/// One by a key on another curve.
const ED25519: &str = "-----BEGIN CERTIFICATE REQUEST-----\nMIGLMD8CAQAwDDEKMAgGA1UEAwwBeDAqMAUGAytlcAMhAJ74s0Au63aQT//Lb8yb\ntb6BaNwZL9J7rz7nRkelvaV5oAAwBQYDK2VwA0EAsI9+NpwuPUtG2Xj6UNi8+lBA\n2aFmfQ2OwOIACmU4hKWQQP4vdmyGZE2zhx0XIYGazARBs4VznSRUZp+X+FAdCA==\n-----END CERTIFICATE REQUEST-----\n";
/// One whose signature is not of its key.
const FORGED: &str = "-----BEGIN CERTIFICATE REQUEST-----\nMIHGMG4CAQAwDDEKMAgGA1UEAwwBeDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IA\nBMy0y+0BcsIgBgTWNvJzlhA3u4bdlkLvUhay8QefFnYCNmNCWPUKr9hAzACm27+V\nkYBFBBUVQH3aPeNFvsjynjSgADAKBggqhkjOPQQDAgNIADBFAiB4D/lgMt6+8Xlq\nTzq7psZQQAvxiZnOAzzWzTuTWyT5FgIhALzMxb9n6w4PQmz3R2/swU4yFQSVicOG\nB4C0FcSzVdww\n-----END CERTIFICATE REQUEST-----\n";
/// One that is cut off.
const CUT: &str = "-----BEGIN CERTIFICATE REQUEST-----\nMIHGMG4CAQAwDDEKMAgGA1UEAwwBeDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IA\nBMy0y+0BcsIgBgTWNvJzlhA3u4bdlkLvUhay8QefFnYCNmNCWPUKr9hAzACm27+V\nkYBFBBUVQH3aPeNFvsjynjSgADAKBggq\n-----END CERTIFICATE REQUEST-----\n";

/// A token that was made at a tier, as its parts.
struct Token {
    id: String,
    secret: String,
    whole: String,
}

fn token(rig: &Rig, tier: Tier) -> Result<Token, String> {
    let made = rig.client(tier).post("/api/v1/join-tokens", "{}")?.body;
    let text = |field: &str| made[field].as_str().map(str::to_owned);
    let (whole, id) = text("token")
        .zip(text("token_id"))
        .ok_or_else(|| made.to_string())?;
    let secret = whole.rsplit('.').next().unwrap_or_default().to_owned();
    Ok(Token { id, secret, whole })
}

/// Asks to be let in with a good token, but for one field.
fn joins(tier: Tier, name: &str, field: &'static str, value: Value, expected: Refusal) -> Row {
    Row::new(format!("{tier:?}: join with {name}"), move |rig| {
        let good = token(rig, tier)?;
        let mut body = json!({"token_id": good.id, "secret": good.secret, "request": GOOD});
        body[field] = value.clone();
        post(rig, tier, "/api/v1/join", &body, &expected)?;
        // The token goes too, so that the next row finds none of it.
        let gone = rig
            .client(tier)
            .delete(&format!("/api/v1/join-tokens/{}", good.id))?;
        if gone.body["used"] != 0 {
            return Err(format!("it took a use: {}", gone.body));
        }
        Ok(())
    })
}

fn post(rig: &Rig, tier: Tier, path: &str, body: &Value, expected: &Refusal) -> Verdict {
    let json = "Content-Type: application/json\r\n";
    let bytes = request(&format!("POST {path}"), json, body.to_string().as_bytes());
    ask(rig.http(tier), &bytes, expected)
}

fn sends(tier: Tier, path: &'static str, body: Value, expected: Refusal) -> Row {
    Row::new(format!("{tier:?}: {path} {body}"), move |rig| {
        post(rig, tier, path, &body, &expected)
    })
}

fn requests(tier: Tier) -> Vec<Row> {
    let stranger = || problem(401, "bad_join_token");
    let no_request = || problem(400, "bad_request");
    let large = format!("-----BEGIN CERTIFICATE REQUEST-----\n{}", "A".repeat(9_000));
    let of = |name: &str, field, value: Value, expected| joins(tier, name, field, value, expected);
    vec![
        of(
            "another's id",
            "token_id",
            json!("join_00000000000000000000000001"),
            stranger(),
        ),
        of(
            "an id of another kind",
            "token_id",
            json!("tok_00000000000000000000000001"),
            fault("join_").of("token_id"),
        ),
        of(
            "a guessed secret",
            "secret",
            json!("A".repeat(43)),
            stranger(),
        ),
        of("a short secret", "secret", json!("A"), stranger()),
        of(
            "a long secret",
            "secret",
            json!("A".repeat(101)),
            fault("100").of("secret"),
        ),
        of(
            "a secret with a line",
            "secret",
            json!("a\nb"),
            fault("A-Z").of("secret"),
        ),
        of("an RSA key", "request", json!(RSA), no_request()),
        of(
            "a key on another curve",
            "request",
            json!(ED25519),
            no_request(),
        ),
        of("a forged request", "request", json!(FORGED), no_request()),
        of("half a request", "request", json!(CUT), no_request()),
        of(
            "a request of 9,000",
            "request",
            json!(large),
            fault("8192").of("request"),
        ),
        of(
            "no request",
            "request",
            json!("hello"),
            fault("PEM").of("request"),
        ),
        of(
            "an id of its own",
            "id",
            json!("node_00000000000000000000000001"),
            fault("unknown field").of("id"),
        ),
    ]
}

fn others(tier: Tier) -> Vec<Row> {
    vec![
        sends(
            tier,
            "/api/v1/join/renew",
            json!({"request": RSA}),
            problem(401, "no_certificate"),
        ),
        sends(
            tier,
            "/api/v1/join-tokens",
            json!({"uses": 0}),
            fault("1 to").of("uses"),
        ),
        sends(
            tier,
            "/api/v1/join-tokens",
            json!({"uses": 1_000_000_000}),
            fault("1 to").of("uses"),
        ),
        sends(
            tier,
            "/api/v1/join-tokens",
            json!({"ttl": "0s"}),
            fault("1s").of("ttl"),
        ),
        sends(
            tier,
            "/api/v1/join-tokens",
            json!({"ttl": "1000d"}),
            fault("1s").of("ttl"),
        ),
    ]
}

/// Tokens as somebody pastes them: cut off, with too much, in capitals, and with the authority of another orchestrator.
fn pasted() -> Vec<Row> {
    let change = |name: &'static str, (code, words), change: fn(&str, &str) -> String| {
        Row::new(format!("node-engine join: {name}"), move |rig: &Rig| {
            let (ours, theirs) = (token(rig, Tier::Cluster)?, token(rig, Tier::Root)?);
            let text = change(&ours.whole, &theirs.whole);
            let call = Call::new("node-engine join").arg(&text);
            let call = call.arg("--data-dir").arg("{}/stranger");
            let verdict = call.judge(rig, code, words);
            for (tier, made) in [(Tier::Cluster, ours), (Tier::Root, theirs)] {
                rig.client(tier)
                    .delete(&format!("/api/v1/join-tokens/{}", made.id))?;
            }
            verdict
        })
        .within(Duration::from_secs(8))
    };
    vec![
        change("nothing of it", (CONFIG, "token"), |_, _| "eio1".to_owned()),
        change("cut off", (CONFIG, "token"), |ours, _| {
            ours[..ours.len() - 9].to_owned()
        }),
        change("a point more", (CONFIG, "token"), |ours, _| {
            format!("{ours}.")
        }),
        change("in capitals", (CONFIG, "token"), |ours, _| {
            ours.to_uppercase()
        }),
        change("a root's", (CONFIG, "token"), |_, theirs| theirs.to_owned()),
        change("another's authority", (FAILED, NOT_ITS), |ours, theirs| {
            let theirs: Vec<&str> = theirs.split('.').collect();
            let mut ours: Vec<&str> = ours.split('.').collect();
            ours[3] = theirs[3];
            ours.join(".")
        }),
    ]
}

pub(crate) fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = Tier::BOTH.into_iter().flat_map(requests).collect();
    rows.extend(Tier::BOTH.into_iter().flat_map(others));
    rows.extend(pasted());
    rows
}
