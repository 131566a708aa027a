//! The fake engine answers as the real one does, as far as a worker can tell.

use edgeio_tests::fake_engine::FakeEngine;
use edgeio_tests::harness::{Engine, Image, alone, required};
use serde_json::{Value, json};

/// What is compared of an answer: the status, and a field or the message where a worker reads them.
fn said(engine: &Engine, method: &str, path: &str, body: &str, field: &str) -> (u16, Value) {
    let (status, answer) = engine.call(method, path, body);
    let value = answer.pointer(field).cloned().unwrap_or_default();
    // Ids and names differ.
    let words = [
        "No such image",
        "No such container",
        "is already in use by container",
        "is not running",
    ];
    let message = value.as_str().unwrap_or_default().to_lowercase();
    let word = words
        .iter()
        .find(|word| message.contains(&word.to_lowercase()));
    (status, word.map_or(value, |word| json!(word)))
}

/// The life of a container and what can be asked wrongly about it.
fn life(engine: &Engine, image: &str, name: &str) -> Vec<(String, (u16, Value))> {
    let mut all = Vec::new();
    let mut ask = |method: &str, path: &str, body: &str, field: &str| {
        let line = format!(
            "{method} {}",
            path.replace(name, "NAME").replace(image, "IMAGE")
        );
        all.push((line, said(engine, method, path, body, field)));
    };
    let body = json!({"Image": image, "Labels": {"edgeio-test": name}}).to_string();
    let missing = json!({"Image": "edgeio-test/none:1"}).to_string();
    let create = format!("/containers/create?name={name}");
    let of = |what: &str| format!("/containers/{name}{what}");
    let list =
        format!("/containers/json?all=1&filters=%7B%22label%22:%5B%22edgeio-test={name}%22%5D%7D");
    ask("GET", "/_ping", "", "/none");
    ask("GET", "/images/edgeio-test/none:1/json", "", "/message");
    ask("POST", &create, &missing, "/message");
    ask("POST", &of("/start"), "", "/message");
    ask("GET", &of("/json"), "", "/message");
    ask("DELETE", &of(""), "", "/message");
    ask("POST", &create, &body, "/none");
    ask("POST", &create, &body, "/message");
    ask("GET", &of("/json"), "", "/State/Status");
    ask("GET", &of("/json"), "", "/State/StartedAt");
    ask("POST", &of("/stop"), "", "/none");
    ask("POST", &of("/kill"), "", "/message");
    ask("POST", &of("/start"), "", "/none");
    ask("POST", &of("/start"), "", "/none");
    ask("GET", &of("/json"), "", "/State/Running");
    ask("GET", &list, "", "/0/State");
    ask("DELETE", &of(""), "", "/none");
    ask("DELETE", &format!("/images/{image}"), "", "/none");
    ask("POST", &of("/kill"), "", "/none");
    ask("GET", &of("/json"), "", "/State/Status");
    ask("GET", &of("/json"), "", "/State/ExitCode");
    ask("GET", &list, "", "/0/State");
    ask("DELETE", &of("?force=1&v=1"), "", "/none");
    ask("GET", &list, "", "");
    all
}

#[test]
fn a_real_engine_answers_as_the_fake_one() {
    if !required("docker") {
        return;
    }
    let _turn = alone();
    let real = Engine::connect();
    let image = Image::sleeper(&real);
    let folder = tempfile::tempdir().unwrap();
    let fake = FakeEngine::start(folder.path());
    fake.has_image(&image.name);
    let name = format!("edgeio-test-alike-{}", std::process::id());
    let real_life = life(&real, &image.name, &name);
    let fake_life = life(&Engine::at(fake.socket()), &image.name, &name);
    for (real, fake) in real_life.iter().zip(&fake_life) {
        assert_eq!(real, fake);
    }
}
