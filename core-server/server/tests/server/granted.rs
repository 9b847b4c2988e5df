//! Who of many users has been granted a rule, as signals ask for it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use checkstack_auth::{Auth, AuthSettings, ServiceKeySettings};
use checkstack_control_api::{SealingKey, SigningKey};
use checkstack_platform::identity::Identity;
use checkstack_platform::native::NativeServices;
use checkstack_platform::{DatabaseSettings, Platform, PlatformSettings};
use checkstack_wasm_host::{WasmHostSettings, WasmPluginLoader};

use crate::postgres::{Postgres, execute};
use sqlx::{Connection as _, PgConnection};

const USERS: [&str; 4] = ["ada", "bob", "cid", "dan"];

fn id(user: &str) -> String {
    let number = USERS.iter().position(|known| *known == user).unwrap_or(9);
    format!("00000000-0000-0000-0000-00000000000{number}")
}

fn ids(users: &[&str]) -> BTreeSet<String> {
    users.iter().map(|user| id(user)).collect()
}

/// Ada is an admin, Bob may read targets by a role, Cid may read what everybody may who signs in, and so may Dan.
const WHO_MAY: &str = "
    INSERT INTO plugin_auth.users (id, email, name)
        SELECT ('00000000-0000-0000-0000-00000000000' || number)::uuid, number || '@example.com', 'name' FROM generate_series(0, 3) number;
    INSERT INTO plugin_auth.access_rules VALUES ('uptime.target.read', '', false, false), ('uptime.page.read', '', true, false);
    INSERT INTO plugin_auth.roles (id, name) VALUES ('readers', ''), ('others', '');
    INSERT INTO plugin_auth.role_access_rules VALUES ('readers', 'uptime.target.read'), ('users', 'uptime.page.read');
    INSERT INTO plugin_auth.user_roles VALUES
        ('00000000-0000-0000-0000-000000000000', 'admin'),
        ('00000000-0000-0000-0000-000000000001', 'readers'),
        ('00000000-0000-0000-0000-000000000001', 'others'),
        ('00000000-0000-0000-0000-000000000002', 'others');
";

#[tokio::test]
async fn roles_grant_rules_to_users_and_admins_have_all() {
    let (database, directory) = (Postgres::shared().database().await, tempfile::tempdir().unwrap());
    let keys = SigningKey::generate().unwrap().verifying_keys().to_json().unwrap();
    std::fs::write(directory.path().join("jwks.json"), keys).unwrap();
    std::fs::write(directory.path().join("sealing.key"), SealingKey::generate().unwrap().as_bytes()).unwrap();
    let mut settings = PlatformSettings::new("monitoring/main", "pod", DatabaseSettings::new(&database.url));
    for (setting, below) in [
        (&mut settings.plugin_set_directory, "set"),
        (&mut settings.plugin_config_directory, "config"),
        (&mut settings.state_directory, "state"),
        (&mut settings.keys_directory, ""),
    ] {
        *setting = directory.path().join(below);
    }
    let known: Arc<Mutex<Option<Arc<dyn Identity>>>> = Arc::default();
    let kept = known.clone();
    let admin_directory = directory.path().join("admin");
    let parts = move |services: NativeServices| {
        let auth = AuthSettings {
            admin_directory: admin_directory.clone(),
            session_lifetime: std::time::Duration::from_secs(60),
            base_url: None,
            oidc: None,
            oidc_directory: admin_directory,
            service_keys: ServiceKeySettings::default(),
            dev_auth: false,
        };
        let parts = Auth::parts(&services, auth)?;
        kept.lock().unwrap().clone_from(&parts.identity);
        Ok(parts)
    };
    let platform = Platform::new(settings);
    let loader = |_: &SealingKey, _| {
        let loader = WasmPluginLoader::new(WasmHostSettings::new([7; 32]), None).map_err(|problem| problem.to_string())?;
        Ok(Arc::new(loader) as _)
    };
    platform.start(loader, parts).await.unwrap();
    execute(&mut PgConnection::connect(&database.url).await.unwrap(), WHO_MAY).await;

    let identity = known.lock().unwrap().clone().unwrap();
    let mut all: Vec<String> = USERS.iter().map(|user| id(user)).collect();
    all.extend([id("unknown"), "no uuid".to_owned()]);
    for (rule, expected) in [
        ("uptime.target.read", &["ada", "bob"][..]),
        ("uptime.page.read", &USERS),
        ("uptime.target.manage", &["ada"]),
        ("mail.x.read", &["ada"]),
    ] {
        assert_eq!(identity.users_granted(&all, &rule.parse().unwrap()).await, Ok(ids(expected)), "{rule}");
    }
    let only = [id("bob"), id("cid")];
    assert_eq!(identity.users_granted(&only, &"uptime.target.read".parse().unwrap()).await, Ok(ids(&["bob"])));
    assert_eq!(identity.users_granted(&[], &"uptime.page.read".parse().unwrap()).await, Ok(BTreeSet::new()));
    platform.finish_shutdown().await;
}
