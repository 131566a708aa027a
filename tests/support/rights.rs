//! Who may do what, as a table, for the tests of both programs: each operation, asked by each role.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use identity::{Secret, UserToken};
use model::access::{
    AccessAnswer, AccessRequest, Credential, Minted, PasswordHash, Policy, Quota, Role, Scope,
    TenantPath,
};
use model::id::TokenId;
use model::name::{Name, first_user};
use orchestrator::access::{ADMIN_TOKEN, Access, RateOptions, Settings};
use orchestrator::audited::Audit;
use orchestrator::keys::Keys;
use orchestrator::{StoreKind, Tier, clock};
use rest::guard::Need;

/// Who asks for what is in the tenant `university`: somebody with that role at the root; and others.
const WHO: [(&str, &str, Option<Role>); 7] = [
    ("none", "default", None),
    ("viewer", "default", Some(Role::Viewer)),
    ("deployer", "default", Some(Role::Deployer)),
    ("operator", "default", Some(Role::Operator)),
    ("admin", "default", Some(Role::Admin)),
    ("auditor", "default", Some(Role::Auditor)),
    ("other", "company", Some(Role::Admin)),
];

/// An orchestrator's users.
pub(crate) async fn access(dir: &Path, tier: Tier) -> Access {
    let settings = Settings {
        tier,
        store: StoreKind::Embedded,
        admin_token: dir.join(ADMIN_TOKEN),
        insecure: false,
        places: vec![],
        rates: RateOptions::default(),
    };
    let keys = Keys::open(StoreKind::Memory, dir, tier, vec![]).unwrap();
    let audit = Audit::open(StoreKind::Memory, dir, tier).unwrap();
    let store = Arc::new(store::Memory::default());
    let access = Access::open(settings, store, Arc::new(keys), audit).await;
    access.unwrap()
}

/// One line an operation: what it needs, and what each of them is answered by the guard. `admit` asks it about `university`,
/// with a token where there is one, and gives the status of a refusal.
pub(crate) async fn table(
    access: &Access,
    needs: &[(&'static str, &str, Need)],
    admit: impl Fn(Need, Option<&str>) -> Result<(), u16>,
) -> String {
    for path in ["company", "university"] {
        let tenant = TenantPath::new(path).unwrap();
        let (quota, policy) = (Quota::default(), Policy::default());
        decide(
            access,
            &first_user(),
            AccessRequest::RequestTenant {
                tenant,
                quota,
                policy,
            },
        )
        .await;
    }
    let mut columns = vec![("nobody", None)];
    for (who, home, role) in WHO {
        columns.push((who, Some(token_of(access, who, home, role).await)));
    }
    let mut table = format!("{:<62}{:<20}", "", "");
    for (who, _) in &columns {
        let _ = write!(table, "{who:<9}");
    }
    for (method, path, need) in needs {
        let right = match need {
            Need::Nothing => "nothing".to_owned(),
            Need::Account => "an account".to_owned(),
            Need::Right(verb, realm) => format!("{} {}", verb.as_str(), realm.as_str()),
        };
        let operation = format!("{} {path}", method.to_uppercase());
        let _ = write!(table, "\n{operation:<62}{right:<20}");
        for (_, token) in &columns {
            let answer = match admit(*need, token.as_deref()) {
                Ok(()) => "yes".to_owned(),
                Err(status) => status.to_string(),
            };
            let _ = write!(table, "{answer:<9}");
        }
    }
    let lines: Vec<&str> = table.lines().map(str::trim_end).collect();
    lines.join("\n") + "\n"
}

/// The token of a new user with that role at its home.
async fn token_of(access: &Access, user: &str, home: &str, role: Option<Role>) -> String {
    // `admin` is there already.
    let name = Name::new(&format!("a-{user}")).unwrap();
    let home = TenantPath::new(home).unwrap();
    let password = PasswordHash("none".to_owned());
    let request = AccessRequest::RequestUser {
        name: name.clone(),
        home,
        password,
    };
    decide(access, &first_user(), request).await;
    let user = name.clone();
    decide(
        access,
        &first_user(),
        AccessRequest::ApproveUser { user, role },
    )
    .await;
    let token = UserToken {
        id: TokenId::from_bits(clock::mint().unwrap()),
        secret: Secret::make().unwrap(),
    };
    let minted = Minted {
        id: token.id,
        hash: token.secret.hash(),
    };
    let (scope, expires_at) = (Scope::FULL, None);
    decide(
        access,
        &name,
        AccessRequest::CreateToken {
            minted,
            scope,
            expires_at,
        },
    )
    .await;
    token.reveal()
}

async fn decide(access: &Access, user: &Name, request: AccessRequest) {
    let answer = access
        .ask(&Credential::Password(user.clone()), &request)
        .await;
    let answer = answer.unwrap();
    assert!(matches!(answer, AccessAnswer::Done(_)), "{answer:?}");
}
