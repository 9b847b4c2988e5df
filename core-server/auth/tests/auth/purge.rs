//! Access rules go with their plugin's data, and not before.

use checkstack_control_api::paths;
use reqwest::Method;
use serde_json::{Value, json};

use crate::instance::refusal;
use crate::packages::package;
use crate::replica::{Replica, Shown, instance};
use crate::scripted::Script;

/// Two rules, of which everybody who signs in has one.
fn contract() -> Value {
    json!({
        "accessRules": [
            { "resource": "target", "level": "read", "description": "See targets", "isDefault": true },
            { "resource": "target", "level": "manage", "description": "Change targets" },
        ],
        "procedures": {},
    })
}

/// Roles that have a rule.
async fn roles_with(replica: &Replica, admin: &Shown, rule: &str) -> Vec<String> {
    let roles = replica.done(admin, "getRoles", Value::Null).await;
    let has = |role: &&Value| role["accessRules"].as_array().unwrap().contains(&json!(rule));
    roles["roles"].as_array().unwrap().iter().filter(has).map(|role| role["id"].as_str().unwrap().to_owned()).collect()
}

async fn rules_of(replica: &Replica, admin: &Shown, plugin: &str) -> usize {
    let rules = replica.done(admin, "getAccessRules", Value::Null).await;
    let prefix = format!("{plugin}.");
    rules["accessRules"].as_array().unwrap().iter().filter(|rule| rule["id"].as_str().unwrap().starts_with(&prefix)).count()
}

#[tokio::test]
async fn rules_stay_while_a_plugin_has_data_and_go_with_it() {
    let instance = instance().await;
    for plugin in ["mail", "mail-x"] {
        instance.scripts.set(plugin, Script { contract: Some(contract()), ..Script::default() });
    }
    let replica = Replica::start(&instance, "pod").await;
    let admin = replica.admin().await;
    let (mail, neighbour) = (package("mail", &[]), package("mail-x", &[]));
    replica.pod.run(1, &[&mail, &neighbour]).await;
    assert_eq!(roles_with(&replica, &admin, "mail.target.read").await, ["users"]);

    // An admin says otherwise.
    let team = replica.done(&admin, "createTeam", json!({ "name": "Payments" })).await["id"].clone();
    replica
        .done(&admin, "createRole", json!({ "id": "post", "name": "Post", "accessRules": ["mail.target.manage", "mail-x.target.manage"] }))
        .await;
    replica.done(&admin, "setRoleAccessRules", json!({ "id": "users", "accessRules": ["mail-x.target.read"] })).await;
    for plugin in ["mail", "mail-x"] {
        let grant = json!({ "resourceType": format!("{plugin}.target"), "resourceId": "shop", "teamOnly": true,
                            "grants": [{ "teamId": team, "canRead": true, "canManage": false }] });
        replica.done(&admin, "setObjectGrants", grant).await;
    }

    // It is taken out and comes back, with its data: all is as it was.
    replica.pod.run(2, &[&neighbour]).await;
    assert_eq!(rules_of(&replica, &admin, "mail").await, 2);
    replica.pod.run(3, &[&mail, &neighbour]).await;
    assert!(roles_with(&replica, &admin, "mail.target.read").await.is_empty(), "what was taken away is not given back");
    assert_eq!(roles_with(&replica, &admin, "mail.target.manage").await, ["post"]);
    let purge = async |plugin: &str| {
        let path = format!("{}/{plugin}", paths::PLUGIN_DATA);
        replica.pod.signed(Method::DELETE, &path, vec![]).send().await.unwrap()
    };
    assert_eq!(refusal(purge("mail").await).await, (409, "plugin_in_use".into()));
    assert_eq!(rules_of(&replica, &admin, "mail").await, 2);

    // It goes for good.
    replica.pod.run(4, &[&neighbour]).await;
    for _ in 0..2 {
        assert_eq!(purge("mail").await.status(), 204);
    }
    assert_eq!((rules_of(&replica, &admin, "mail").await, rules_of(&replica, &admin, "mail-x").await), (0, 2));
    assert_eq!(roles_with(&replica, &admin, "mail-x.target.manage").await, ["post"]);
    for (plugin, teams) in [("mail", 0), ("mail-x", 1)] {
        let object = json!({ "resourceType": format!("{plugin}.target"), "resourceId": "shop" });
        let grants = replica.done(&admin, "getObjectGrants", object).await;
        assert_eq!((grants["grants"].as_array().unwrap().len(), &grants["teamOnly"]), (teams, &json!(teams == 1)));
    }
    let records = replica.done(&admin, "getAuditRecords", json!({})).await;
    let forgotten: Vec<&Value> =
        records["records"].as_array().unwrap().iter().filter(|record| record["action"] == "plugin.forget").collect();
    assert_eq!(forgotten.len(), 1, "{records}");
    assert_eq!((&forgotten[0]["actorType"], &forgotten[0]["object"]), (&json!("system"), &json!("plugin:mail")));
    let details = json!({ "accessRules": ["mail.target.manage", "mail.target.read"], "teamGrants": 1, "teamOnlyObjects": 1 });
    let mut told = forgotten[0]["details"].clone();
    told["accessRules"].as_array_mut().unwrap().sort_by_key(ToString::to_string);
    assert_eq!(told, details);

    // Who comes after it begins anew.
    replica.pod.run(5, &[&mail, &neighbour]).await;
    assert_eq!(roles_with(&replica, &admin, "mail.target.read").await, ["users"]);
}

#[tokio::test]
async fn what_belongs_to_the_server_cannot_be_purged() {
    let instance = instance().await;
    let replica = Replica::start(&instance, "pod").await;
    let admin = replica.admin().await;
    let path = format!("{}/auth", paths::PLUGIN_DATA);
    let refused = replica.pod.signed(Method::DELETE, &path, vec![]).send().await.unwrap();
    assert_eq!(refusal(refused).await, (409, "plugin_in_use".into()));
    assert_eq!(rules_of(&replica, &admin, "auth").await, 11);
}
