//! Access to the API server, and what tests do there as an administrator.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use checkstack_crds::{Checkstack, CheckstackPlugin};
use checkstack_operator::{names, rbac};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, RoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// How long anything may take. Generous: the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(30);
const KUBECONFIG: &str = "CHECKSTACK_TEST_KUBECONFIG";
const ROLE: &str = "checkstack-operator-test";
const ROLE_WITHOUT_SECRETS: &str = "checkstack-operator-test-without-secrets";

/// A namespace for one test.
pub struct Sandbox {
    pub admin: Client,
    pub namespace: String,
}

impl Sandbox {
    /// A new namespace in a prepared cluster.
    pub async fn new(name: &str) -> Self {
        let admin = Client::try_from(admin_config().await).unwrap();
        prepare(&admin).await;
        let namespace: Namespace = serde_json::from_value(json!({ "metadata": { "generateName": format!("operator-{name}-") } })).unwrap();
        let namespace = Api::all(admin.clone()).create(&PostParams::default(), &namespace).await.unwrap().name_any();
        Self { admin, namespace }
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.admin.clone(), &self.namespace)
    }

    /// Creates or changes an object, as `kubectl apply --server-side` does.
    pub async fn apply<K>(&self, object: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Serialize + DeserializeOwned + Clone + Debug,
    {
        let mut object = object;
        object["apiVersion"] = json!(K::api_version(&()));
        object["kind"] = json!(K::kind(&()));
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        self.api::<K>().patch(&name, &PatchParams::apply("test").force(), &Patch::Apply(&object)).await.unwrap()
    }

    /// Changes parts of an object.
    pub async fn merge<K>(&self, name: &str, patch: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone + Debug,
    {
        self.api::<K>().patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap()
    }

    pub async fn get<K>(&self, name: &str) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone + Debug,
    {
        self.api::<K>().get(name).await.unwrap()
    }

    pub async fn find<K>(&self, name: &str) -> Option<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone + Debug,
    {
        self.api::<K>().get_opt(name).await.unwrap()
    }

    pub async fn delete<K>(&self, name: &str)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone + Debug,
    {
        self.api::<K>().delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// Creates or changes a Secret.
    pub async fn secret(&self, name: &str, data: &[(&str, &str)]) -> Secret {
        let data: BTreeMap<&str, &str> = data.iter().copied().collect();
        self.apply(json!({ "metadata": { "name": name }, "stringData": data })).await
    }

    /// Waits until an object is as expected.
    pub async fn wait<K>(&self, name: &str, expectation: &str, is_so: impl Fn(&K) -> bool) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone + Debug + Serialize,
    {
        let began = Instant::now();
        loop {
            let found: Option<K> = self.find(name).await;
            match found {
                Some(object) if is_so(&object) => return object,
                found if began.elapsed() > PATIENCE => {
                    panic!("{} '{name}' did not become: {expectation}\n{}", K::kind(&()), serde_json::to_string_pretty(&found).unwrap())
                }
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    pub async fn wait_gone<K>(&self, name: &str)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone + Debug + Serialize,
    {
        let began = Instant::now();
        while let Some(object) = self.find::<K>(name).await {
            assert!(began.elapsed() < PATIENCE, "'{name}' stays:\n{}", serde_json::to_string_pretty(&object).unwrap());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits for a condition of a plugin.
    pub async fn plugin_condition(&self, name: &str, type_: &str, status: &str, reason: &str) -> CheckstackPlugin {
        let expectation = format!("{type_}={status} {reason} for its generation");
        self.wait(name, &expectation, |plugin: &CheckstackPlugin| {
            let generation = plugin.meta().generation;
            let conditions = plugin.status.iter().flat_map(|status| &status.conditions);
            conditions.into_iter().any(|condition| {
                (condition.type_.as_str(), condition.status.as_str(), condition.reason.as_str()) == (type_, status, reason)
                    && condition.observed_generation == generation
            })
        })
        .await
    }

    pub async fn plugin_ready(&self, name: &str) -> CheckstackPlugin {
        self.plugin_condition(name, "Ready", "True", "Active").await
    }

    /// Waits for a condition of an instance.
    pub async fn instance_condition(&self, name: &str, type_: &str, status: &str, reason: &str) -> Checkstack {
        let expectation = format!("{type_}={status} {reason} for its generation");
        self.wait(name, &expectation, |instance: &Checkstack| {
            let generation = instance.meta().generation;
            let conditions = instance.status.iter().flat_map(|status| &status.conditions);
            conditions.into_iter().any(|condition| {
                (condition.type_.as_str(), condition.status.as_str(), condition.reason.as_str()) == (type_, status, reason)
                    && condition.observed_generation == generation
            })
        })
        .await
    }

    /// An instance with its database Secret. Gives it back when the operator has made its Deployment.
    pub async fn instance(&self, name: &str, spec: Value) -> Checkstack {
        self.secret(&format!("{name}-db"), &[("url", "postgres://checkstack:secret@postgres/checkstack")]).await;
        let mut full = json!({ "database": { "urlSecretRef": { "name": format!("{name}-db") } } });
        merge(&mut full, spec);
        let instance = self.apply(json!({ "metadata": { "name": name }, "spec": full })).await;
        self.wait::<Deployment>(name, "made", |_| true).await;
        instance
    }

    /// A plugin of the instance `main`.
    pub async fn plugin(&self, name: &str, spec: Value) -> CheckstackPlugin {
        let mut full = json!({ "instanceRef": { "name": "main" } });
        merge(&mut full, spec);
        self.apply(json!({ "metadata": { "name": name }, "spec": full })).await
    }

    /// Does what Kubernetes' Deployment controller would: all pods are as asked for, and ready.
    pub async fn roll_out(&self, name: &str) {
        let deployment: Deployment = self.get(name).await;
        let replicas = deployment.spec.unwrap().replicas;
        let status = json!({ "status": {
            "observedGeneration": deployment.metadata.generation,
            "replicas": replicas, "updatedReplicas": replicas, "readyReplicas": replicas, "availableReplicas": replicas,
        } });
        self.api::<Deployment>().patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
    }

    /// A Pod of an instance that answers at `port` of this machine.
    pub async fn pod(&self, instance: &str, name: &str, port: u16) -> Pod {
        let labels = names::instance_labels(instance);
        let pod = json!({
            "metadata": { "name": name, "labels": labels },
            "spec": {
                "automountServiceAccountToken": false,
                "terminationGracePeriodSeconds": 0,
                "containers": [{
                    "name": "core", "image": "none",
                    "ports": [{ "name": "http", "containerPort": port, "protocol": "TCP" }],
                }],
            },
        });
        let pod = serde_json::from_value(pod).unwrap();
        self.api::<Pod>().create(&PostParams::default(), &pod).await.unwrap();
        self.pod_status(name, true).await
    }

    /// Says what the kubelet would.
    pub async fn pod_status(&self, name: &str, ready: bool) -> Pod {
        let ready = if ready { "True" } else { "False" };
        let status = json!({ "status": {
            "phase": "Running", "podIP": "127.0.0.1", "podIPs": [{ "ip": "127.0.0.1" }],
            "conditions": [{ "type": "Ready", "status": ready }],
        } });
        self.api::<Pod>().patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await.unwrap()
    }

    /// The operator's connection: a ServiceAccount with exactly the rights of `rbac.rs`.
    pub async fn operator_client(&self) -> Client {
        let token = self.operator_token().await;
        let mut config = admin_config().await;
        config.auth_info = kube::config::AuthInfo { token: Some(token.into()), ..Default::default() };
        Client::try_from(config).unwrap()
    }

    /// The same as a file.
    pub async fn operator_kubeconfig(&self) -> String {
        let mut kubeconfig: Value = serde_yaml::from_str(&std::fs::read_to_string(admin_kubeconfig()).unwrap()).unwrap();
        for user in kubeconfig["users"].as_array_mut().unwrap() {
            user["user"] = json!({ "token": self.operator_token().await });
        }
        kubeconfig.to_string()
    }

    /// Lets the operator of another sandbox work in this one too.
    pub async fn admit(&self, other: &Self) {
        self.bind(ROLE, &other.namespace).await;
    }

    /// Takes the right to read Secrets from the operator, or gives it back.
    pub async fn let_read_secrets(&self, may: bool) {
        let (lost, given) = if may { (ROLE_WITHOUT_SECRETS, ROLE) } else { (ROLE, ROLE_WITHOUT_SECRETS) };
        self.bind(given, &self.namespace).await;
        self.delete::<RoleBinding>(lost).await;
    }

    async fn operator_token(&self) -> String {
        let account: ServiceAccount = serde_json::from_value(json!({ "metadata": { "name": "operator" } })).unwrap();
        let accounts = self.api::<ServiceAccount>();
        if accounts.get_opt("operator").await.unwrap().is_none() {
            accounts.create(&PostParams::default(), &account).await.unwrap();
        }
        for role in [ROLE.to_owned(), format!("{ROLE}-own")] {
            self.bind(&role, &self.namespace).await;
        }
        let request =
            TokenRequest { spec: TokenRequestSpec { expiration_seconds: Some(3600), ..Default::default() }, ..Default::default() };
        let token = accounts.create_token_request("operator", &PostParams::default(), &request).await.unwrap();
        token.status.unwrap().token
    }

    async fn bind(&self, role: &str, namespace: &str) {
        let _: RoleBinding = self
            .apply(json!({
                "metadata": { "name": role },
                "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
                "subjects": [{ "kind": "ServiceAccount", "name": "operator", "namespace": namespace }],
            }))
            .await;
    }
}

/// Puts the fields of `patch` into `target`.
pub fn merge(target: &mut Value, patch: Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(target.entry(key).or_insert(Value::Null), value);
            }
        }
        (target, patch) => *target = patch,
    }
}

fn admin_kubeconfig() -> PathBuf {
    std::env::var(KUBECONFIG).map(PathBuf::from).unwrap_or_else(|_| {
        panic!(
            "{KUBECONFIG} is not set. These tests need a real API server:\n  \
             tests/cluster/cluster up --mode control-plane --name operator\n  \
             export {KUBECONFIG}=$(tests/cluster/cluster kubeconfig --name operator)"
        )
    })
}

async fn admin_config() -> Config {
    // Whichever test comes first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let path = admin_kubeconfig();
    let kubeconfig = Kubeconfig::read_from(&path).unwrap_or_else(|error| panic!("{KUBECONFIG}={}: {error}", path.display()));
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap()
}

/// Definitions and roles, once for all tests.
async fn prepare(admin: &Client) {
    static PREPARED: OnceCell<()> = OnceCell::const_new();
    PREPARED
        .get_or_init(|| async {
            let parameters = PatchParams::apply("test").force();
            let definitions: Api<CustomResourceDefinition> = Api::all(admin.clone());
            for definition in checkstack_crds::definitions::definitions().unwrap() {
                definitions.patch(&definition.name_any(), &parameters, &Patch::Apply(&definition)).await.unwrap();
                established(&definitions, &definition.name_any()).await;
            }
            let roles: Api<ClusterRole> = Api::all(admin.clone());
            let no_secrets = rbac::rules().into_iter().filter(|rule| rule.resources.as_deref() != Some(&["secrets".to_owned()])).collect();
            for (name, rules) in [
                (ROLE.to_owned(), rbac::rules()),
                (ROLE_WITHOUT_SECRETS.to_owned(), no_secrets),
                (format!("{ROLE}-own"), rbac::leader_election_rules()),
            ] {
                let role = json!({
                    "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
                    "metadata": { "name": name }, "rules": rules,
                });
                roles.patch(&name, &parameters, &Patch::Apply(&role)).await.unwrap();
            }
        })
        .await;
}

async fn established(definitions: &Api<CustomResourceDefinition>, name: &str) {
    let began = Instant::now();
    loop {
        let status = definitions.get(name).await.unwrap().status.unwrap_or_default();
        if status.conditions.iter().flatten().any(|condition| condition.type_ == "Established" && condition.status == "True") {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{name} is not established");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until something is so.
pub async fn eventually<T>(expectation: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "did not come: {expectation}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
