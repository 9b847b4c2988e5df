//! Where the API server comes from.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use checkstack_crds::definitions::definitions;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, CustomResourceExt, ResourceExt};
use serde_json::json;
use tokio::sync::OnceCell;

const VARIABLE: &str = "CHECKSTACK_TEST_KUBECONFIG";
/// The name of our own control plane, where none is given.
const NAME: &str = "crds-tests";
const PATIENCE: Duration = Duration::from_secs(30);

/// A namespace for one test, in a cluster that has the definitions.
pub struct Sandbox {
    pub client: Client,
    pub namespace: String,
}

impl Sandbox {
    pub async fn new() -> Self {
        let client = client().await;
        install(&client).await;
        let namespace: Namespace = serde_json::from_value(json!({ "metadata": { "generateName": "crds-" } })).unwrap();
        let namespace = Api::all(client.clone()).create(&PostParams::default(), &namespace).await.unwrap().name_any();
        Self { client, namespace }
    }
}

/// The kubeconfig of the cluster to test against.
pub fn kubeconfig() -> &'static Path {
    static KUBECONFIG: OnceLock<PathBuf> = OnceLock::new();
    KUBECONFIG.get_or_init(|| match std::env::var_os(VARIABLE) {
        Some(path) => path.into(),
        None => own_control_plane(),
    })
}

/// The project's harness for clusters.
pub fn harness() -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cluster/cluster"))
}

/// What a command prints, which must succeed.
pub fn output(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?} failed: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

async fn client() -> Client {
    let options = KubeConfigOptions::default();
    let path = kubeconfig().display();
    let kubeconfig =
        Kubeconfig::read_from(kubeconfig()).unwrap_or_else(|error| panic!("{VARIABLE} or our own cluster names {path}: {error}"));
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
    Client::try_from(config).unwrap()
}

fn own_control_plane() -> PathBuf {
    // One process at a time may have it.
    let lock = File::create(Path::new(env!("CARGO_TARGET_TMPDIR")).join("control-plane.lock")).unwrap();
    lock.lock().unwrap();
    let up = harness().args(["up", "--mode", "control-plane", "--name", NAME]).output();
    let up = up.unwrap_or_else(|error| panic!("tests/cluster/cluster cannot be run: {error}"));
    assert!(
        up.status.success(),
        "These tests need an API server. Name a kubeconfig in {VARIABLE}, or make the project's own harness work \
         (tests/cluster/cluster install); it says:\n{}{}",
        String::from_utf8_lossy(&up.stdout),
        String::from_utf8_lossy(&up.stderr)
    );
    take_down_when_this_process_ends(lock);
    PathBuf::from(output(harness().args(["kubeconfig", "--name", NAME])).trim())
}

/// A test binary has no last moment of its own, and may be killed. But then its pipes close: a
/// shell that waits for that takes the control plane down. It holds the lock until it is done.
fn take_down_when_this_process_ends(lock: File) {
    use std::os::unix::process::CommandExt as _;
    static WATCHER: OnceLock<Child> = OnceLock::new();
    let watcher = Command::new("sh")
        .args(["-c", "cat; exec \"$@\" >&2", "sh"])
        .arg(harness().get_program())
        .args(["down", "--name", NAME])
        .stdin(Stdio::piped())
        .stdout(lock)
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    WATCHER.set(watcher).unwrap();
}

/// Installs the definitions as they are published and waits until objects can be created.
async fn install(client: &Client) {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    INSTALLED
        .get_or_init(|| async {
            let api: Api<CustomResourceDefinition> = Api::all(client.clone());
            for definition in definitions().unwrap() {
                let apply = PatchParams::apply("checkstack-tests").force();
                let name = definition.name_any();
                if let Err(error) = api.patch(&name, &apply, &Patch::Apply(&definition)).await {
                    panic!("the API server refuses {name}: {error}");
                }
            }
            for name in [checkstack_crds::Checkstack::crd_name(), checkstack_crds::CheckstackPlugin::crd_name()] {
                wait_until_served(&api, name).await;
            }
        })
        .await;
}

async fn wait_until_served(api: &Api<CustomResourceDefinition>, name: &str) {
    let began = Instant::now();
    loop {
        let conditions = api.get(name).await.unwrap().status.and_then(|status| status.conditions).unwrap_or_default();
        let holds = |type_: &str| conditions.iter().any(|condition| condition.type_ == type_ && condition.status == "True");
        // A schema that the API server finds not structural shows here, and CEL does not work then.
        assert!(!holds("NonStructuralSchema"), "{name}: {conditions:?}");
        if holds("Established") && holds("NamesAccepted") {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{name} is not served: {conditions:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
