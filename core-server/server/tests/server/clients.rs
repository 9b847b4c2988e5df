//! Clients that `checkstack client` makes, of an instance that runs: one in Rust, which is in this folder, and one in TypeScript, with which
//! `tests/clients/calls.ts` calls.

mod generated;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use checkstack_clients::{Language, Options};
use generated::echo::types::{EchoInput, EchoInputShape, EchoInputState, Node};
use generated::secrets::types::{DeleteSecretInput, SetSecretInput};
use generated::{Client, Error, ErrorCode, Refusal};
use serde_json::{Value, json};

use crate::guest::Guest;
use crate::identity::{ADMIN, Caller, PASSWORD, pod};
use crate::openapi::document;
use crate::process::{Pod, Server};
use crate::{plugin, set};

/// One of each that JSON lacks, and of what is hard to say in types. The guest answers with what it was given.
fn contract() -> Value {
    let shape = |kind: &str, size: &str| json!({ "type": "object", "required": ["kind", size], "properties": { "kind": { "const": kind }, size: { "type": "number" } } });
    let everything = json!({
        "type": "object",
        "required": ["at", "count", "ids", "labels", "state", "shape", "tree"],
        "properties": {
            "at": { "type": "string", "x-native-type": "date", "description": "A point in time." },
            "until": { "type": ["string", "null"], "x-native-type": "date" },
            "count": { "type": "integer", "x-native-type": "bigint" },
            "ids": { "type": "array", "items": { "type": "string" }, "x-native-type": "set" },
            "labels": {
                "type": "array", "x-native-type": "map",
                "items": { "type": "array", "prefixItems": [{ "type": "string" }, { "type": "integer", "format": "int64" }], "minItems": 2, "maxItems": 2 },
            },
            "page": { "type": "string", "x-native-type": "url" },
            "pattern": { "type": "string", "x-native-type": "regexp" },
            "state": { "enum": ["up", "down"] },
            "shape": { "oneOf": [shape("circle", "radius"), shape("square", "side")] },
            "tree": { "$ref": "#/$defs/Node" },
        },
        "$defs": { "Node": { "type": "object", "required": ["children"], "properties": { "children": { "type": "array", "items": { "$ref": "#/$defs/Node" } } } } },
    });
    let procedure = |operation: &str| json!({ "operation": operation, "userType": "anonymous", "input": everything, "output": everything });
    let refusing = json!({ "operation": "mutation", "userType": "anonymous", "summary": "Says no" });
    json!({ "procedures": { "echo": procedure("query"), "echo/changed": procedure("mutation"), "NOT_FOUND": refusing } })
}

/// A pod with the guest, and the key of an application that may do everything.
async fn serving() -> (Pod, Server, String) {
    let pod = pod().await;
    pod.write("encryption/current", "1".repeat(64).as_bytes());
    let package = plugin("echo", &Guest::default().contract(&contract().to_string()).component());
    let mut first = pod.serve();
    pod.until_ready().await;
    pod.upload(&package).await;
    assert!(first.terminate().success());
    pod.mount(&set(1, &[&package]));
    assert!(pod.materialise().status.success());
    let server = pod.serve();
    pod.until_ready().await;
    let admin = Caller::signed_in(&pod, ADMIN, PASSWORD).await;
    let application = admin.done("createApplication", json!({ "name": "client", "roles": ["admin"] })).await;
    let key = application["key"].as_str().unwrap().to_owned();
    (pod, server, key)
}

async fn client(pod: &Pod, key: &str, language: Language) -> String {
    let plugins = ["echo".to_owned(), "secrets".to_owned()];
    let options = Options { language, caller: checkstack_clients::Caller::Outsider, plugins: &plugins };
    checkstack_clients::generate(&document(pod, key).await, options).unwrap()
}

fn everything() -> EchoInput {
    EchoInput {
        at: "2026-01-02T03:04:05.678Z".parse().unwrap(),
        until: None,
        count: 9_007_199_254_740_993,
        ids: vec!["a".into(), "b".into()],
        labels: vec![("x".into(), 1), ("y".into(), 2)],
        page: Some("https://example.com/a?b=1".into()),
        pattern: Some("/a+/i".into()),
        state: EchoInputState::Up,
        shape: EchoInputShape::Circle { radius: 1.5 },
        tree: Node { children: vec![Node { children: Vec::new() }] },
    }
}

fn refusal<T: std::fmt::Debug>(result: Result<T, Error>) -> Refusal {
    match result {
        Err(Error::Refused(refusal)) => *refusal,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_in_rust_calls_an_instance() {
    let (pod, _server, key) = serving().await;
    let made = client(&pod, &key, Language::Rust).await;
    let there = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/server/clients/generated.rs");
    if std::env::var_os("CHECKSTACK_UPDATE_CLIENTS").is_some() {
        std::fs::write(&there, &made).unwrap();
    }
    assert!(
        std::fs::read_to_string(&there).unwrap() == made,
        "{} is of another contract: CHECKSTACK_UPDATE_CLIENTS=1 writes it",
        there.display()
    );

    let nobody = Client::new(&pod.url("/"));
    let sent = serde_json::to_value(everything()).unwrap();
    let answered = nobody.echo().echo(&everything()).await.unwrap();
    assert_eq!(serde_json::to_value(&answered).unwrap(), sent);
    assert_eq!(answered.at, "2026-01-02T03:04:05.678Z".parse().unwrap());
    let answered = nobody.echo().echo_changed(&serde_json::from_value(sent.clone()).unwrap()).await.unwrap();
    assert_eq!(serde_json::to_value(answered).unwrap(), sent);
    // Longer than a URL may be.
    let long = EchoInput { ids: (0..1000).map(|number| format!("id-{number}")).collect(), ..everything() };
    assert_eq!(nobody.echo().echo(&long).await.unwrap().ids, long.ids);

    let refused = refusal(nobody.clone().with_correlation_id("client-test").echo().not_found().await);
    assert_eq!((refused.code, refused.status, refused.correlation_id.as_deref()), (ErrorCode::NotFound, 404, Some("client-test")));
    assert_eq!(refusal(nobody.secrets().list_secrets().await).code, ErrorCode::Unauthorized);
    let admin = nobody.clone().with_token(key);
    let secret =
        |name: &str| SetSecretInput { name: name.into(), value: "hunter2-and-more".into(), description: Some("of a client".into()) };
    let refused = refusal(admin.secrets().set_secret(&secret("not a name")).await);
    assert_eq!((refused.code, refused.issues()[0].path.as_slice()), (ErrorCode::BadRequest, [json!("name")].as_slice()));
    admin.secrets().set_secret(&secret("of-client")).await.unwrap();
    let listed = admin.secrets().list_secrets().await.unwrap();
    assert_eq!((listed[0].name.as_str(), listed[0].description.as_str()), ("of-client", "of a client"));
    assert!(admin.secrets().delete_secret(&DeleteSecretInput { name: "of-client".into() }).await.unwrap().deleted);

    assert!(matches!(Client::new("nowhere").echo().not_found().await, Err(Error::Invalid(_))));
    assert!(matches!(Client::new("http://127.0.0.1:1").echo().not_found().await, Err(Error::Unreachable(_))));
    let elsewhere = Client::new(&pod.url("/no-instance")).echo().not_found().await;
    assert!(matches!(elsewhere, Err(Error::Unexpected { status: 404, .. })), "{elsewhere:?}");
}

fn succeeded(output: &Output) {
    let said = format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_in_typescript_calls_an_instance() {
    let (pod, _server, key) = serving().await;
    let repository = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let modules = repository.join("plugin-sdk/typescript/node_modules");
    let tsc = modules.join(".bin/tsc");
    assert!(tsc.exists(), "run plugin-sdk/toolchain/install typescript");
    pod.write("client.ts", client(&pod, &key, Language::TypeScript).await.as_bytes());
    pod.write("calls.ts", &std::fs::read(repository.join("tests/clients/calls.ts")).unwrap());
    // As strict as there is, and only what disappears when types are taken away.
    let strict = json!({
        "compilerOptions": {
            "target": "es2023", "lib": ["es2023", "dom", "dom.iterable"], "module": "nodenext", "types": ["node"], "typeRoots": [modules.join("@types")],
            "strict": true, "noUncheckedIndexedAccess": true, "exactOptionalPropertyTypes": true, "noImplicitOverride": true, "noUnusedLocals": true,
            "noUnusedParameters": true, "verbatimModuleSyntax": true, "isolatedModules": true, "erasableSyntaxOnly": true, "skipLibCheck": true,
            "rewriteRelativeImportExtensions": true, "outDir": "made",
        },
        "include": ["calls.ts"],
    });
    pod.write("tsconfig.json", strict.to_string().as_bytes());
    pod.write("package.json", br#"{ "type": "module" }"#);
    succeeded(&Command::new(tsc).current_dir(pod.path(".")).output().unwrap());
    let called = Command::new("node").arg("made/calls.js").args([&pod.url(""), &key]).current_dir(pod.path(".")).output();
    succeeded(&called.unwrap());
}
