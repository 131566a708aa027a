//! Who may do what: each operation of this program, asked by each role.

use axum::http::Request;
use expect_test::expect_file;
use orchestrator::Tier;
use rest::guard::Guard as _;

use super::rights::{access, table};
use super::*;
use crate::places::Places;
use crate::tier::Cluster;

#[tokio::test]
async fn each_operation_lets_in_whom_its_need_says() {
    let dir = tempfile::tempdir().unwrap();
    let access = access(dir.path(), Tier::Cluster).await;
    let common = orchestrator::http::routes::<Cluster>();
    let logs = orchestrator::http::logs::routes::<Cluster, Places>();
    let beside = orchestrator::http::beside(&access);
    let scheduler = orchestrator::http::scheduler::routes::<Cluster>();
    let own = [nodes_api(), other_api()];
    let mut needs = [
        common.needs(),
        logs.needs(),
        beside.needs(),
        scheduler.needs(),
    ]
    .concat();
    needs.extend(own.iter().flat_map(Api::needs));
    let admit = |need, token: Option<&str>| {
        let mut request = Request::builder().uri("/?tenant=university");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let admitted = access.admit(need, &parts);
        admitted.map(drop).map_err(|refusal| refusal.problem.status)
    };
    let table = table(&access, &needs, admit).await;
    expect_file!["tests/rights.txt"].assert_eq(&table);
}
