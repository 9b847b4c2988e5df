//! Procedures and who calls them, with somebody who knows users and teams.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use checkstack_calls::access::{AccessRule, Account, Permissions, Principal, RuleId};
use checkstack_calls::gate::TeamGrants;
use checkstack_platform::identity::{Identity, NotIdentified};
use checkstack_platform::native::{NativeParts, NativeServices};
use http::HeaderMap;
use serde_json::{Value, json};

use crate::instance::{Instance, Pod};
use crate::packages::package;
use crate::scripted::Script;

/// Knows Ada, who is in a team that was granted the system `a`, while `b` is that of others alone.
#[derive(Default)]
pub(crate) struct Known {
    rules: Mutex<Vec<Vec<String>>>,
    is_down: std::sync::atomic::AtomicBool,
    signed_out: Mutex<BTreeSet<String>>,
}

impl Known {
    /// From now on this shows nothing.
    pub(crate) fn sign_out(&self, who: &str) {
        self.signed_out.lock().unwrap().insert(who.to_owned());
    }

    /// From now on it does not answer.
    pub(crate) fn take_down(&self) {
        self.is_down.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

#[async_trait]
impl Identity for Known {
    async fn principal(&self, headers: &HeaderMap) -> Result<Option<Principal>, NotIdentified> {
        if self.is_down.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(NotIdentified::Unavailable("as scripted".into()));
        }
        let shown = headers.get("authorization").map(|value| value.to_str().unwrap());
        let may: &[&str] = match shown.filter(|shown| !self.signed_out.lock().unwrap().contains(*shown)) {
            Some("ada") => &["catalog.system.read"],
            Some("bob") => &[],
            Some("root") => {
                let account = Account { id: "0".into(), name: "Root".into(), permissions: Permissions::All, teams: BTreeSet::new() };
                return Ok(Some(Principal::User(Arc::new(account))));
            }
            Some("too-many") => return Err(NotIdentified::TooManyAttempts),
            _ => return Ok(None),
        };
        let permissions = Permissions::These(may.iter().map(|rule| rule.parse().unwrap()).collect());
        Ok(Some(Principal::User(Arc::new(Account { id: "1".into(), name: "Ada".into(), permissions, teams: ["team".to_owned()].into() }))))
    }

    async fn anonymous(&self) -> Result<Arc<Permissions>, NotIdentified> {
        Ok(Arc::new(Permissions::These(["catalog.status.read".parse().unwrap()].into())))
    }

    async fn team_grants(
        &self,
        principal: Option<&Principal>,
        rule: &RuleId,
        objects: &[String],
    ) -> Result<BTreeMap<String, TeamGrants>, NotIdentified> {
        assert_eq!(rule.to_string(), "catalog.system.read");
        let teams = match principal {
            Some(Principal::User(account)) => account.teams.clone(),
            _ => BTreeSet::new(),
        };
        let of_team = TeamGrants { any: true, matching: teams.contains("team"), team_only: false };
        let of_others = TeamGrants { any: true, matching: false, team_only: true };
        let all = BTreeMap::from([("a".to_owned(), of_team), ("b".to_owned(), of_others)]);
        Ok(all.into_iter().filter(|(id, _)| objects.contains(id)).collect())
    }

    async fn users_granted(&self, _: &[String], _: &RuleId) -> Result<BTreeSet<String>, NotIdentified> {
        Err(NotIdentified::Unavailable("as scripted".into()))
    }

    fn withhold(&self, headers: &mut HeaderMap) {
        headers.remove("authorization");
    }

    async fn rules_defined(&self, rules: &BTreeMap<RuleId, AccessRule>) -> Result<(), NotIdentified> {
        self.rules.lock().unwrap().push(rules.keys().map(ToString::to_string).collect());
        Ok(())
    }
}

fn contract() -> Value {
    let rule = |resource: &str| json!({ "resource": resource, "level": "read", "description": "See it" });
    json!({
        "accessRules": [rule("system"), rule("status")],
        "procedures": {
            "list": { "operation": "query", "access": ["system.read"], "instanceAccess": { "listKey": "systems" }, "input": {}, "output": {} },
            "one": { "operation": "query", "access": ["system.read"], "instanceAccess": { "idParam": "id" }, "input": {}, "output": {} },
            "all": { "operation": "query", "access": ["system.read"], "output": {} },
            "status": { "operation": "query", "userType": "public", "access": ["status.read"], "output": {} },
            "open": { "operation": "query", "userType": "anonymous", "output": {} },
        },
    })
}

async fn catalog(instance: &Instance) -> (Pod, Arc<Known>) {
    instance.scripts.set("catalog", Script { contract: Some(contract()), ..Script::default() });
    let known = Arc::new(Known::default());
    let identity = known.clone();
    let parts = move |_: NativeServices| Ok(NativeParts { identity: Some(identity), ..NativeParts::default() });
    let pod = instance.new_pod("pod").await;
    pod.platform.start(instance.loader(), parts).await.unwrap();
    pod.run(1, &[&package("catalog", &[])]).await;
    (pod, known)
}

async fn call(pod: &Pod, who: &str, procedure: &str, input: Value) -> (u16, Value) {
    let request = pod.client.post(format!("{}/api/catalog/{procedure}", pod.address)).header("authorization", who);
    let response = request.json(&json!({ "json": input })).send().await.unwrap();
    let status = response.status().as_u16();
    assert_eq!(response.headers().contains_key("retry-after"), matches!(status, 429 | 503));
    (status, response.json::<Value>().await.unwrap()["json"].clone())
}

#[tokio::test]
async fn teams_add_to_what_one_may_and_have_something_for_themselves() {
    let instance = Instance::new().await;
    let (pod, _) = catalog(&instance).await;
    let systems = json!({ "result": { "systems": [{ "id": "a" }, { "id": "b" }, { "id": "c" }] } });
    let seen = async |who: &str| {
        let (status, output) = call(&pod, who, "list", systems.clone()).await;
        assert_eq!(status, 200, "{output}");
        output["systems"].as_array().unwrap().iter().map(|system| system["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(seen("ada").await, ["a", "c"]);
    assert_eq!(seen("bob").await, ["a"]);
    for (who, id, status) in
        [("ada", "a", 200), ("ada", "b", 403), ("ada", "c", 200), ("bob", "a", 200), ("bob", "b", 403), ("bob", "c", 403)]
    {
        assert_eq!(call(&pod, who, "one", json!({ "id": id })).await.0, status, "{who} {id}");
    }
    assert_eq!((call(&pod, "ada", "all", json!(null)).await.0, call(&pod, "bob", "all", json!(null)).await.0), (200, 403));
}

#[tokio::test]
async fn who_cannot_be_checked_now_is_told_to_come_back() {
    let instance = Instance::new().await;
    let (pod, known) = catalog(&instance).await;
    assert_eq!(call(&pod, "nobody", "all", json!(null)).await.0, 401);
    assert_eq!(call(&pod, "nobody", "status", json!(null)).await.0, 200, "what the role anonymous may");
    assert_eq!(call(&pod, "too-many", "all", json!(null)).await.0, 429);
    known.take_down();
    let (status, error) = call(&pod, "ada", "all", json!(null)).await;
    assert_eq!((status, &error["message"]), (503, &json!("who makes the call cannot be checked at the moment")));
    assert_eq!(call(&pod, "ada", "open", json!(null)).await.0, 200, "nobody is asked");
}

#[tokio::test]
async fn the_description_is_for_those_who_may_read_it() {
    let instance = Instance::new().await;
    let (pod, known) = catalog(&instance).await;
    let get = async |who: &str| {
        let response = pod.client.get(format!("{}/api/openapi.json", pod.address)).header("authorization", who).send().await.unwrap();
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    assert_eq!(get("nobody").await, (401, json!({ "error": "Unauthorized" })));
    assert_eq!(get("ada").await, (403, json!({ "error": "Forbidden" })));
    assert_eq!(get("too-many").await.0, 429);
    let (status, document) = get("root").await;
    assert_eq!((status, &document["openapi"], &document["servers"]), (200, &json!("3.1.1"), &json!([{ "url": "/" }])));
    assert_eq!(document["paths"]["/rest/catalog/list"]["get"]["x-orpc-meta"]["accessRules"], json!(["catalog.system.read"]));
    let page = |who: &str| pod.client.get(format!("{}/api/docs", pod.address)).header("authorization", who).send();
    let read = page("root").await.unwrap();
    assert_eq!((read.status().as_u16(), read.headers()["content-type"].to_str().unwrap()), (200, "text/html; charset=utf-8"));
    assert!(read.headers()["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
    assert!(read.text().await.unwrap().contains("<code>GET /rest/catalog/list</code>"));
    assert_eq!((page("nobody").await.unwrap().status().as_u16(), page("ada").await.unwrap().status().as_u16()), (401, 403));
    known.take_down();
    assert_eq!(get("root").await.0, 503);
}

#[tokio::test]
async fn a_plugin_does_not_see_what_shows_who_somebody_is() {
    let instance = Instance::new().await;
    let (pod, _) = catalog(&instance).await;
    let url = format!("{}/api/catalog/of-its-own", pod.address);
    let seen: Value = pod.client.get(url).header("authorization", "ada").header("x-other", "1").send().await.unwrap().json().await.unwrap();
    let headers = seen["headers"].as_array().unwrap();
    assert!(headers.contains(&json!("x-other")) && !headers.contains(&json!("authorization")), "{seen}");
}

#[tokio::test]
async fn the_rules_of_plugins_that_serve_are_made_known() {
    let instance = Instance::new().await;
    let (pod, known) = catalog(&instance).await;
    let both = ["catalog.status.read", "catalog.system.read"];
    let before_it_served = known.rules.lock().unwrap().iter().any(|rules| *rules == both);
    assert!(before_it_served, "its first call could be refused: {:?}", known.rules.lock().unwrap());
    let told = async |expected: &[&str]| {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while known.rules.lock().unwrap().last().is_none_or(|last| last != expected) {
            assert!(std::time::Instant::now() < deadline, "{:?}", known.rules.lock().unwrap());
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let both = [&["api-docs.api-docs.read"][..], &both].concat();
    told(&both).await;
    pod.run(2, &[]).await;
    told(&["api-docs.api-docs.read"]).await;
}
