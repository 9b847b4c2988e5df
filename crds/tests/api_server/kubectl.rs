//! What an admin sees.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use checkstack_crds::{Checkstack, CheckstackPlugin};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, CustomResourceExt};
use serde_json::{Value, json};

use crate::control_plane::{Sandbox, harness, kubeconfig, output};
use crate::reading::{instance_status, plugin_status};
use crate::{checkstack, plugin};

#[tokio::test]
async fn the_columns_say_what_an_admin_asks() {
    let sandbox = sandbox_with_both_kinds().await;
    assert_eq!(
        table::<Checkstack>(&sandbox).await,
        [
            ("Name", "main"),
            ("Ready", "False"),
            ("Replicas", "2/3"),
            ("Plugins", "5/6"),
            ("Reason", "RolloutStuck"),
            ("Age", "*"),
            ("URL", "wide http://main.monitoring.svc")
        ]
        .map(|(column, value)| (column.to_owned(), value.to_owned()))
    );
    let digest = format!("wide sha256:{}", "b".repeat(64));
    assert_eq!(
        table::<CheckstackPlugin>(&sandbox).await,
        [
            ("Name", "uptime"),
            ("Ready", "False"),
            ("Version", "1.2.0"),
            ("Active", "1/2"),
            ("Reason", "InitFailed"),
            ("Age", "*"),
            ("Digest", digest.as_str()),
            ("Message", "wide what to do"),
        ]
        .map(|(column, value)| (column.to_owned(), value.to_owned()))
    );
}

#[tokio::test]
async fn the_kinds_are_found_by_every_name() {
    let sandbox = sandbox_with_both_kinds().await;
    let get = |arguments: &[&str]| output(kubectl().args(["--namespace", &sandbox.namespace, "get", "-o", "name"]).args(arguments));
    let (instance, plugin) = ("checkstack.checkstack.io/main\n", "checkstackplugin.checkstack.io/uptime\n");
    for name in ["checkstack", "checkstacks", "cst", "checkstacks.checkstack.io"] {
        assert_eq!(eventually(|| Some(get(&[name, "main"]))), instance, "{name}");
    }
    for name in ["checkstackplugin", "checkstackplugins", "csp"] {
        assert_eq!(get(&[name, "uptime"]), plugin, "{name}");
    }
    assert_eq!(get(&["checkstack-io"]), format!("{plugin}{instance}"));
    // As the tour in the README waits.
    let wait =
        kubectl().args(["--namespace", &sandbox.namespace, "wait", "csp", "--all", "--for=condition=Ready=false", "--timeout=5s"]).output();
    assert!(wait.unwrap().status.success());
}

#[tokio::test]
async fn explain_is_worth_reading() {
    Sandbox::new().await;
    // The API server publishes the text a moment after the definitions.
    let explain = |path: &str, expected: &str| {
        let explained = eventually(|| {
            let explained = kubectl().args(["explain", path]).output().unwrap();
            explained.status.success().then(|| words(&String::from_utf8_lossy(&explained.stdout)))
        });
        assert!(explained.contains(expected), "{path} does not say '{expected}':\n{explained}");
    };
    explain("checkstack", "A Checkstack instance: the core server's pods, the Service in front of them");
    explain("checkstack.spec.database.urlSecretRef", "every plugin gets a schema and a login role of its own");
    explain("checkstack.spec.imagePullPolicy", "Left out, Kubernetes decides");
    explain("checkstackplugin.spec.grants.memory", "Memory of one running copy of the plugin");
    explain("checkstackplugin.spec.deletionPolicy", "Purge deletes them for good");
    explain("checkstackplugin.status.pods", "What each pod says about the plugin");
}

#[test]
fn every_field_has_a_description() {
    fn check(path: &str, schema: &Value, missing: &mut Vec<String>) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            if property["description"].as_str().unwrap_or_default().is_empty() && !is_of_kubernetes(&path) {
                missing.push(path.clone());
            }
            check(&path, property, missing);
            check(&path, &property["items"], missing);
        }
    }
    let mut missing = Vec::new();
    for definition in checkstack_crds::definitions::definitions().unwrap() {
        let schema = serde_json::to_value(&definition.spec.versions[0].schema).unwrap();
        check(&definition.spec.names.kind, &schema["openAPIV3Schema"], &mut missing);
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

fn is_of_kubernetes(path: &str) -> bool {
    ["podTemplate.affinity.", "podTemplate.env.", "topologySpreadConstraints.", "ingressFrom."].iter().any(|part| path.contains(part))
}

async fn sandbox_with_both_kinds() -> Sandbox {
    let sandbox = Sandbox::new().await;
    let instances: Api<Checkstack> = Api::namespaced(sandbox.client.clone(), &sandbox.namespace);
    instances.create(&PostParams::default(), &serde_json::from_value(checkstack::good()).unwrap()).await.unwrap();
    instances.patch_status("main", &PatchParams::default(), &Patch::Merge(&json!({ "status": instance_status() }))).await.unwrap();
    let plugins: Api<CheckstackPlugin> = Api::namespaced(sandbox.client.clone(), &sandbox.namespace);
    plugins.create(&PostParams::default(), &serde_json::from_value(plugin::good()).unwrap()).await.unwrap();
    plugins.patch_status("uptime", &PatchParams::default(), &Patch::Merge(&json!({ "status": plugin_status(2) }))).await.unwrap();
    sandbox
}

/// The columns of the one object there is, with "wide" before those that `-o wide` adds.
async fn table<K: CustomResourceExt + kube::Resource<DynamicType = ()>>(sandbox: &Sandbox) -> Vec<(String, String)> {
    let path = format!("/apis/checkstack.io/v1alpha1/namespaces/{}/{}", sandbox.namespace, K::plural(&()));
    let table = get_as_table(&sandbox.client, &path).await;
    let cells = table["rows"][0]["cells"].as_array().unwrap();
    let columns = table["columnDefinitions"].as_array().unwrap();
    let column = |(definition, cell): (&Value, &Value)| {
        let name = definition["name"].as_str().unwrap();
        let text = cell.as_str().map_or_else(|| cell.to_string(), str::to_owned);
        let text = if name == "Age" { "*".to_owned() } else { text };
        let wide = if definition["priority"].as_i64() > Some(0) { "wide " } else { "" };
        (name.to_owned(), format!("{wide}{text}"))
    };
    columns.iter().zip(cells).map(column).collect()
}

async fn get_as_table(client: &Client, path: &str) -> Value {
    let request = http::Request::get(path).header("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").body(Vec::new()).unwrap();
    client.request(request).await.unwrap()
}

fn kubectl() -> Command {
    let mut command = Command::new(Path::new(output(harness().arg("bin")).trim()).join("kubectl"));
    command.arg("--kubeconfig").arg(kubeconfig());
    command
}

fn eventually<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(result) = attempt() {
            return result;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "not within 30 s");
        std::thread::sleep(Duration::from_millis(250));
    }
}

/// Text without the line breaks of the terminal.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
