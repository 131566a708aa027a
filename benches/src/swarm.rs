//! Docker Swarm at its defaults, over the engines' own interface.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::docker::{COMMAND, Engine};
use crate::machines::{Machine, Machines};

/// How long one step may take.
const LIMIT: Duration = Duration::from_secs(90);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// Where managers listen.
const PORT: u16 = 2377;

/// Makes a swarm whose manager is the first machine, and waits until it knows all of them.
pub(crate) async fn form(machines: &Machines) -> anyhow::Result<()> {
    let (manager, others) = machines.all.split_first().context("no machines")?;
    let listen = format!("0.0.0.0:{PORT}");
    let body = json!({"ListenAddr": listen, "AdvertiseAddr": manager.address});
    post(&manager.engine, "/swarm/init", &body).await?;
    let swarm = manager.engine.connect().await?.get("/swarm").await?;
    let token = swarm.pointer("/JoinTokens/Worker").cloned();
    for other in others {
        let body = json!({
            "ListenAddr": listen,
            "AdvertiseAddr": other.address,
            "RemoteAddrs": [format!("{}:{PORT}", manager.address)],
            "JoinToken": token,
        });
        post(&other.engine, "/swarm/join", &body).await?;
    }
    let deadline = Instant::now() + LIMIT;
    loop {
        let nodes = nodes(manager).await?;
        let ready = |node: &&Value| node.pointer("/Status/State") == Some(&json!("ready"));
        if nodes.iter().filter(ready).count() == machines.all.len() {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("the swarm is not whole within {LIMIT:?}: {nodes:?}");
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Runs so many replicas, all of them on one machine, though each machine may have them.
pub(crate) async fn deploy(
    machines: &Machines,
    on: &Machine,
    (image, replicas): (&str, u32),
) -> anyhow::Result<()> {
    let manager = machines.all.first().context("no machines")?;
    set_availability(manager, Some(&on.address), "pause").await?;
    let body = json!({
        "Name": "bench",
        "TaskTemplate": {"ContainerSpec": {"Image": image, "Command": COMMAND}},
        "Mode": {"Replicated": {"Replicas": replicas}},
    });
    post(&manager.engine, "/services/create", &body).await?;
    let deadline = Instant::now() + LIMIT;
    while on.engine.running().await? < replicas as usize {
        if Instant::now() > deadline {
            let tasks = manager.engine.connect().await?.get("/tasks").await?;
            bail!("the service does not run within {LIMIT:?}: {tasks}");
        }
        tokio::time::sleep(LOOK).await;
    }
    set_availability(manager, None, "active").await
}

/// Sets whether machines get new tasks; all but one at an address.
async fn set_availability(
    manager: &Machine,
    but: Option<&str>,
    availability: &str,
) -> anyhow::Result<()> {
    for node in nodes(manager).await? {
        let text = |at: &str| node.pointer(at).and_then(Value::as_str);
        if but.is_some() && text("/Status/Addr") == but {
            continue;
        }
        let id = text("/ID").context("a node without an id")?;
        let version = node.pointer("/Version/Index").and_then(Value::as_u64);
        let version = version.context("a node without a version")?;
        let role = text("/Spec/Role").context("a node without a role")?;
        let body = json!({"Role": role, "Availability": availability});
        let path = format!("/nodes/{id}/update?version={version}");
        post(&manager.engine, &path, &body).await?;
    }
    Ok(())
}

async fn nodes(manager: &Machine) -> anyhow::Result<Vec<Value>> {
    let nodes = manager.engine.connect().await?.get("/nodes").await?;
    let Value::Array(nodes) = nodes else {
        bail!("no list of nodes: {nodes}");
    };
    Ok(nodes)
}

async fn post(engine: &Engine, path: &str, body: &Value) -> anyhow::Result<()> {
    let body = body.to_string();
    let body = Some(("application/json", body.as_bytes()));
    let answer = engine.connect().await?.ask("POST", path, body).await?;
    answer.good().with_context(|| format!("POST {path}"))?;
    Ok(())
}
