//! What the query and the documents of a request say of its tenant.

use axum::http::Request;

use super::*;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Limited {
    limit: Option<usize>,
}

async fn asking<Q: DeserializeOwned>(uri: &str) -> Result<Asking<Q>, (u16, String)> {
    let (mut parts, ()) = Request::get(uri).body(()).unwrap().into_parts();
    Asking::from_request_parts(&mut parts, &())
        .await
        .map_err(|error| (error.problem.status, error.problem.detail.clone()))
}

fn path(text: &str) -> TenantPath {
    TenantPath::new(text).unwrap()
}

#[tokio::test]
async fn a_request_is_for_the_tenant_that_its_query_names_and_else_for_the_one_above_all() {
    let plain = asking::<NoMore>("/api/v1/jobs").await.unwrap();
    assert_eq!(plain.tenant.asked(), Asked::default());
    assert_eq!(plain.tenant.listed(), TenantPath::root());
    for uri in ["/j?tenant=uni/lab&limit=3", "/j?limit=3&%74enant=uni%2Flab"] {
        let asking = asking::<Limited>(uri).await.unwrap();
        assert_eq!(asking.query.limit, Some(3));
        assert_eq!(asking.tenant.asked(), Asked::at(path("uni/lab")));
        assert_eq!(asking.tenant.listed(), path("uni/lab"));
    }
}

#[tokio::test]
async fn what_is_no_tenant_and_what_is_not_known_is_refused() {
    for (uri, fragment) in [
        ("/j?tenant=", "is no tenant"),
        ("/j?tenant=default/lab", "is no tenant"),
        ("/j?tenant=a%2F..", "is no tenant"),
        ("/j?tenant=a&tenant=a", "twice"),
        ("/j?tenat=a", "tenat"),
        ("/j?tenant=a&limit=3", "limit"),
    ] {
        let (status, detail) = asking::<NoMore>(uri).await.unwrap_err();
        assert_eq!(status, 400, "{uri}");
        assert!(detail.contains(fragment), "{uri}: {detail}");
    }
}

#[test]
fn a_document_names_the_tenant_of_its_request_or_the_request_names_none() {
    let of = |given: Option<&str>, within: &str| ForTenant::new(given.map(path), path(within));
    let told = |error: ApiError| (error.problem.status, error.problem.code.clone());
    let open = of(None, "default").unwrap();
    assert_eq!(open.documents(None).unwrap(), Asked::default());
    assert_eq!(
        open.documents(Some(path("uni"))).unwrap(),
        Asked::at(path("uni"))
    );
    let uni = of(Some("uni"), "default").unwrap();
    assert_eq!(uni.documents(None).unwrap(), Asked::at(path("uni")));
    assert_eq!(
        uni.documents(Some(path("uni"))).unwrap().tenant,
        path("uni")
    );
    let other = uni.documents(Some(path("uni/lab"))).map_err(told);
    assert_eq!(other, Err((422, "tenant_mismatch".to_owned())));
    // One who sees a part means its highest tenant, and no other tenant is there.
    let part = of(None, "uni").unwrap();
    assert_eq!(part.asked().tenant, path("uni"));
    let hidden = part.documents(Some(path("other"))).map_err(told);
    assert_eq!(hidden, Err((404, "no_such_tenant".to_owned())));
    let hidden = of(Some("unix"), "uni").map_err(told);
    assert_eq!(hidden, Err((404, "no_such_tenant".to_owned())));
}
