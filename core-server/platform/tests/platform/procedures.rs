//! Procedures that plugins offer, as their callers see them.

use checkstack_platform::plugin::{Caller, PluginRequest};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Value, json};

use crate::instance::{Instance, Pod};
use crate::packages::package;
use crate::scripted::{Script, request};

fn contract() -> Value {
    let input = json!({ "type": "object", "properties": { "limit": { "type": "integer" }, "result": {}, "fails": {}, "traps": {} } });
    let systems = json!({ "type": "object", "required": ["systems"], "properties": { "at": { "x-native-type": "date" } } });
    json!({
        "accessRules": [{ "resource": "system", "level": "read", "description": "See systems" }],
        "procedures": {
            "open": { "operation": "query", "userType": "anonymous", "input": input, "output": {} },
            "change": { "operation": "mutation", "userType": "anonymous", "input": input, "output": {} },
            "nothing": { "operation": "mutation", "userType": "anonymous" },
            "systems/list": {
                "operation": "query", "userType": "public", "access": ["system.read"], "instanceAccess": { "listKey": "systems" },
                "input": input, "output": systems,
            },
            "systems/one": { "operation": "query", "userType": "public", "access": ["system.read"], "instanceAccess": { "idParam": "id" }, "input": {} },
            "closed": { "operation": "query", "access": ["system.read"], "input": input, "output": {} },
            "services": { "operation": "query", "userType": "service", "serviceScope": ["friend"], "output": {} },
        },
    })
}

async fn catalog(instance: &Instance) -> Pod {
    instance.scripts.set("catalog", Script { contract: Some(contract()), ..Script::default() });
    let pod = instance.pod("pod").await;
    let friends = [package("catalog", &[]), package("friend", &["catalog ^1"]), package("stranger", &["catalog ^1"])];
    pod.run(1, &friends.each_ref()).await;
    pod
}

async fn sent(pod: &Pod, method: Method, path: &str, body: Value) -> (u16, Value) {
    let request = pod.client.request(method, format!("{}{path}", pod.address)).header("x-correlation-id", "abc-123");
    let request = if body.is_null() { request } else { request.json(&body) };
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() })
}

#[tokio::test]
async fn a_procedure_is_called_by_rpc_and_by_rest() {
    let instance = Instance::new().await;
    let pod = catalog(&instance).await;
    let seen = json!({ "procedure": "open", "input": { "limit": 10 }, "caller": "None", "correlationId": "abc-123" });
    let envelope = json!({ "json": seen });
    assert_eq!(sent(&pod, Method::POST, "/api/catalog/open", json!({ "json": { "limit": 10 } })).await, (200, envelope.clone()));
    let data = "/api/catalog/open?data=%7B%22json%22%3A%7B%22limit%22%3A10%7D%7D";
    assert_eq!(sent(&pod, Method::GET, data, Value::Null).await, (200, envelope));
    assert_eq!(sent(&pod, Method::GET, "/rest/catalog/open?limit=10", Value::Null).await, (200, seen));
    let (status, changed) = sent(&pod, Method::POST, "/rest/catalog/change", json!({ "result": [1] })).await;
    assert_eq!((status, changed), (200, json!([1])));
    assert_eq!(sent(&pod, Method::POST, "/api/catalog/nothing", Value::Null).await, (200, json!({})));
    assert_eq!(sent(&pod, Method::POST, "/rest/catalog/nothing", Value::Null).await, (200, Value::Null));
    let response = pod.get("/rest/catalog/open").await;
    assert_eq!(
        (&response.headers()["content-type"], &response.headers()["x-frame-options"]),
        (&HeaderValue::from_static("application/json"), &HeaderValue::from_static("DENY"))
    );
}

#[tokio::test]
async fn what_leads_to_no_procedure_is_the_plugins_own_on_api_and_not_found_on_rest() {
    let instance = Instance::new().await;
    let pod = catalog(&instance).await;
    assert_eq!(pod.json("/api/catalog/anything").await.1["path"], "/anything");
    let not_found = (404, json!({ "error": "Not Found" }));
    for (method, path) in [
        (Method::GET, "/rest/catalog/anything"),
        (Method::GET, "/rest/catalog/change"),
        (Method::GET, "/rest/nobody/open"),
        (Method::GET, "/rest/friend/open"),
    ] {
        assert_eq!(sent(&pod, method, path, Value::Null).await, not_found, "{path}");
    }
}

#[tokio::test]
async fn errors_are_in_the_form_of_the_mount() {
    let instance = Instance::new().await;
    let pod = catalog(&instance).await;
    let error = |code: &str, status: u16, message: &str| json!({ "defined": false, "code": code, "status": status, "message": message });
    let conflict = error("CONFLICT", 409, "as scripted");
    assert_eq!(sent(&pod, Method::POST, "/rest/catalog/change", json!({ "fails": true })).await, (409, conflict.clone()));
    assert_eq!(
        sent(&pod, Method::POST, "/api/catalog/change", json!({ "json": { "fails": true } })).await,
        (409, json!({ "json": conflict }))
    );
    let method = (405, json!({ "json": error("METHOD_NOT_SUPPORTED", 405, "Method Not Supported") }));
    assert_eq!(sent(&pod, Method::GET, "/api/catalog/change", Value::Null).await, method);
    let (status, refused) = sent(&pod, Method::GET, "/rest/catalog/open?limit=ten", Value::Null).await;
    assert_eq!(
        (status, &refused["message"], &refused["data"]["issues"][0]["path"]),
        (400, &json!("Input validation failed"), &json!(["limit"]))
    );
    let trapped = error("BAD_GATEWAY", 502, "plugin 'catalog' failed to answer");
    assert_eq!(sent(&pod, Method::POST, "/rest/catalog/change", json!({ "traps": true })).await, (502, trapped.clone()));
    assert_eq!(
        sent(&pod, Method::POST, "/api/catalog/change", json!({ "json": { "traps": true } })).await,
        (502, json!({ "json": trapped }))
    );
    let wrong = sent(&pod, Method::POST, "/api/catalog/systems/list", json!({ "json": { "result": { "at": 1 } } })).await;
    assert_eq!(wrong, (500, json!({ "json": error("INTERNAL_SERVER_ERROR", 500, "Output validation failed") })));
}

#[tokio::test]
async fn the_gate_is_before_the_input() {
    let instance = Instance::new().await;
    let pod = catalog(&instance).await;
    let (status, refused) = sent(&pod, Method::POST, "/api/catalog/closed", json!({ "json": { "limit": "wrong" } })).await;
    assert_eq!((status, &refused["json"]["message"]), (401, &json!("Authentication required")));
    // What is about single objects shows none, and touches none, to one who has been granted nothing.
    let list = json!({ "result": { "systems": [{ "id": "a" }], "at": "2026-01-01T00:00:00.000Z" } });
    let (status, seen) = sent(&pod, Method::POST, "/api/catalog/systems/list", json!({ "json": list })).await;
    assert_eq!((status, seen), (200, json!({ "json": { "systems": [], "at": "2026-01-01T00:00:00.000Z" }, "meta": [[1, "at"]] })));
    let (status, refused) = sent(&pod, Method::GET, "/rest/catalog/systems/one?id=a", Value::Null).await;
    assert_eq!((status, &refused["message"]), (403, &json!("Access denied to resource system:a")));
}

#[tokio::test]
async fn a_plugin_calls_another_as_a_service() {
    let instance = Instance::new().await;
    let _pod = catalog(&instance).await;
    let called = async |plugin: &str, path: &str| {
        let headers = HeaderMap::from_iter([(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        let request = PluginRequest {
            method: Method::POST,
            path: path.into(),
            headers,
            caller: Caller::Plugin(plugin.parse().unwrap()),
            ..request(plugin)
        };
        let response = instance.scripts.services(plugin).peers.call(&"catalog".parse().unwrap(), request).await.unwrap();
        (response.status.as_u16(), serde_json::from_slice::<Value>(&response.body).unwrap())
    };
    let (status, seen) = called("friend", "/services").await;
    assert_eq!((status, &seen["json"]["caller"]), (200, &json!("friend")));
    let (status, refused) = called("stranger", "/services").await;
    assert_eq!((status, &refused["json"]["message"]), (403, &json!("Service 'stranger' is not allowed to call this endpoint")));
    let (status, seen) = called("stranger", "/closed").await;
    assert_eq!((status, &seen["json"]["caller"]), (200, &json!("stranger")), "what is not scoped is open to plugins");
}
