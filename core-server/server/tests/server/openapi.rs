//! The description of all procedures, as programs read it that know nothing else of Checkstack: `tests/openapi/install` prints
//! the folder that they are in.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::identity::{ADMIN, Caller, PASSWORD, pod};
use crate::process::{Pod, Server};

/// An answer that the description does not have, or one of 500 and more, is a fault.
const CHECKS: &str =
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,negative_data_rejection";

fn program(name: &str) -> Command {
    let folder = std::env::var("CHECKSTACK_TEST_OPENAPI").expect("the folder that `tests/openapi/install` prints");
    let mut program = Command::new(PathBuf::from(folder).join(name));
    program.env("NO_PROXY", "*");
    program
}

/// A pod, and the key of an application that may do everything.
async fn described() -> (Pod, Server, String) {
    let pod = pod().await;
    pod.write("encryption/current", "1".repeat(64).as_bytes());
    let server = pod.serve();
    pod.until_ready().await;
    let admin = Caller::signed_in(&pod, ADMIN, PASSWORD).await;
    let application = admin.done("createApplication", json!({ "name": "reader", "roles": ["admin"] })).await;
    let key = application["key"].as_str().unwrap().to_owned();
    (pod, server, key)
}

pub(crate) async fn document(pod: &Pod, key: &str) -> Value {
    let response = reqwest::Client::new().get(pod.url("/api/openapi.json")).bearer_auth(key).send().await.unwrap();
    assert_eq!(response.status(), 200);
    response.json().await.unwrap()
}

fn succeeded(output: &Output, server: &Server) -> String {
    let said = format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let errors: Vec<String> = server.log().lines().filter(|line| line.contains("ERROR")).map(str::to_owned).collect();
    assert!(output.status.success(), "{said}\n{}", errors.join("\n"));
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_described_is_what_is_answered() {
    let (pod, server, key) = described().await;
    // Before: it deletes applications that were listed, the one whose key this is among them.
    let described = document(&pod, &key).await["paths"].as_object().unwrap().len();
    let output = program("schemathesis")
        .args(["--no-color", "run", &pod.url("/api/openapi.json"), "--checks", CHECKS, "--phases", "examples,coverage,fuzzing"])
        .args(["--max-examples", "15", "--seed", "1", "--continue-on-failure", "--request-timeout", "10"])
        .args(["--header", &format!("Authorization: Bearer {key}")])
        .current_dir(pod.path("."))
        .output()
        .unwrap();
    let said = succeeded(&output, &server);
    assert!(described > 20 && said.contains(&format!("Tested: {described}")), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_is_made_of_the_description() {
    let (pod, server, key) = described().await;
    pod.write("openapi.json", document(&pod, &key).await.to_string().as_bytes());
    let made =
        program("openapi-python-client").args(["generate", "--meta", "none", "--path", "openapi.json"]).current_dir(pod.path(".")).output();
    let said = succeeded(&made.unwrap(), &server);
    // It says so of what it cannot make anything of.
    assert!(!said.contains("WARNING parsing") && !said.contains("Error(s)"), "{said}");
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/openapi/client.py");
    let called =
        program("python").env("PYTHONPATH", pod.path(".")).arg(script).args([&pod.url(""), &key]).current_dir(pod.path(".")).output();
    succeeded(&called.unwrap(), &server);
}
