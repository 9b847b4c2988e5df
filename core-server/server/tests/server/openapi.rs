//! The description of all procedures, tried by a program that calls everything it describes, with inputs that fit and inputs that
//! do not. `tests/schemathesis/install` prints where that program is.

use std::process::Command;

use serde_json::{Value, json};

use crate::identity::{ADMIN, Caller, PASSWORD, pod};

/// An answer that the description does not have, or one of 500 and more, is a fault.
const CHECKS: &str =
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,negative_data_rejection";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_described_is_what_is_answered() {
    let schemathesis = std::env::var("CHECKSTACK_TEST_SCHEMATHESIS").expect("the program that `tests/schemathesis/install` prints");
    let pod = pod().await;
    let server = pod.serve();
    pod.until_ready().await;
    let admin = Caller::signed_in(&pod, ADMIN, PASSWORD).await;
    let application = admin.done("createApplication", json!({ "name": "schemathesis", "roles": ["admin"] })).await;
    let key = application["key"].as_str().unwrap();
    let document = reqwest::Client::new().get(pod.url("/api/openapi.json")).bearer_auth(key).send().await.unwrap();
    let document: Value = document.json().await.unwrap();
    let output = Command::new(schemathesis)
        .args(["--no-color", "run", &pod.url("/api/openapi.json"), "--checks", CHECKS, "--phases", "examples,coverage,fuzzing"])
        .args(["--max-examples", "15", "--seed", "1", "--continue-on-failure", "--request-timeout", "10"])
        .args(["--header", &format!("Authorization: Bearer {key}")])
        .current_dir(pod.path("."))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}\n{}",
        server.log().lines().filter(|line| line.contains("ERROR")).collect::<Vec<_>>().join("\n")
    );
    let described = document["paths"].as_object().unwrap().len();
    assert!(described > 20 && said.contains(&format!("Tested: {described}")), "{said}");
}
