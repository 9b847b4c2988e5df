//! For developers: everybody is an admin.

use checkstack_auth::AuthSettings;
use serde_json::{Value, json};

use crate::replica::{Replica, Shown, instance, settings};

#[tokio::test]
async fn everybody_is_the_same_admin_and_services_are_themselves() {
    let instance = instance().await;
    let own = Replica::start_with(&instance, "own", AuthSettings { dev_auth: true, ..settings(&instance) }).await;
    for shown in [Shown::nothing(), Shown::bearer("ck_wrong"), Shown::bearer("of-something-else")] {
        assert_eq!(own.who(&shown).await, "user dev-user");
    }
    let me = own.done(&Shown::nothing(), "whoAmI", Value::Null).await;
    assert_eq!(me, json!({ "type": "user", "id": "dev-user", "name": "Dev User", "accessRules": ["*"], "teamIds": [] }));
    own.done(&Shown::nothing(), "createRole", json!({ "id": "mine", "name": "x", "accessRules": [] })).await;
    let session: Value = own.pod.get("/api/auth/get-session").await.json().await.unwrap();
    assert_eq!((&session["user"]["id"], &session["user"]["email"]), (&json!("dev-user"), &json!("dev@checkstack.local")));

    let service = own.service("uptime").await;
    assert_eq!(own.who(&service).await, "service uptime");
    let wrong = Shown::bearer(&format!("{}x", service.token()));
    assert_eq!(own.who(&wrong).await, "401");
    let records = own.done(&Shown::nothing(), "getAuditRecords", json!({})).await;
    assert!(records.to_string().contains(r#""actorId":"dev-user""#), "{records}");

    let other = Replica::start(&instance, "other").await;
    assert_eq!(other.who(&Shown::nothing()).await, "401", "unless that is asked for");
    assert_eq!(other.pod.get("/api/auth/get-session").await.json::<Value>().await.unwrap(), Value::Null);
}
