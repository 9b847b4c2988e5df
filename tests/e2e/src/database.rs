//! The evaluation database of the samples, with storage that outlives its pod, so that a test can
//! stop PostgreSQL and start it again.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::eventually::eventually;
use crate::instance::PATIENCE;
use crate::namespace::Namespace;
use crate::packages::repository;

const STATEFUL_SET: &str = "statefulset/main-db";
const POD: &str = "main-db-0";
/// Of the user `checkstack`.
pub const PASSWORD: &str = "only-for-this-test";

impl Namespace {
    /// Brings PostgreSQL up. On the local node its data is in a folder of the node; on a cluster of the user's own,
    /// its default storage class gives the volume.
    pub async fn bring_up_database(&self) -> Result<()> {
        let mut objects = self.database_objects()?;
        objects.push(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "main-db"},
            "stringData": {"password": PASSWORD, "url": format!("postgresql://checkstack:{PASSWORD}@main-db.{}.svc:5432/checkstack", self.name)},
        }));
        let local_folder = std::env::var("CHECKSTACK_E2E_VOLUMES").ok();
        objects.push(json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "main-db"},
            "spec": {
                "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
                "storageClassName": local_folder.as_ref().map(|_| ""), "volumeName": local_folder.as_ref().map(|_| &self.name),
            },
        }));
        if let Some(folder) = local_folder {
            self.make_local_volume(&folder).await?;
        }
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        self.apply(&list.to_string()).await?;
        self.await_database().await
    }

    /// Stops PostgreSQL in an orderly way and waits until it is gone.
    pub async fn stop_database(&self) -> Result<()> {
        self.scale_database(0).await?;
        self.kubectl(&["wait", "--for=delete", &format!("pod/{POD}"), "--timeout=60s"]).await?;
        Ok(())
    }

    /// Says whether PostgreSQL shall run, and waits for nothing.
    pub async fn scale_database(&self, replicas: u8) -> Result<()> {
        self.kubectl(&["scale", STATEFUL_SET, &format!("--replicas={replicas}")]).await?;
        Ok(())
    }

    /// Runs SQL as superuser; rows as `a|b` lines.
    pub async fn sql(&self, statement: &str) -> Result<String> {
        let script = "PATH=$(echo /usr/lib/postgresql/*/bin):$PATH; exec psql --host /tmp --username postgres -AtX -v ON_ERROR_STOP=1 -c \"$0\" checkstack";
        Ok(self.exec(POD, &["sh", "-c", script, statement]).await?.trim().to_owned())
    }

    async fn await_database(&self) -> Result<()> {
        eventually("the database takes connections", PATIENCE, || async {
            let set = self.get(STATEFUL_SET).await?;
            ensure!(set["status"]["readyReplicas"] == 1, "{}", set["status"]);
            Ok(())
        })
        .await
    }

    /// `manifests/samples/database.yaml`, in this namespace and with a claim for its data.
    fn database_objects(&self) -> Result<Vec<Value>> {
        let image = std::env::var("CHECKSTACK_E2E_POSTGRES_IMAGE").unwrap_or_else(|_| "postgres:15".to_owned());
        let yaml = std::fs::read_to_string(repository().join("manifests/samples/database.yaml"))?;
        let mut objects = Vec::new();
        for document in serde_yaml::Deserializer::from_str(&yaml) {
            let mut object = Value::deserialize(document)?;
            let metadata = object["metadata"].as_object_mut().context("an object without metadata")?;
            metadata.remove("namespace");
            if object["kind"] == "StatefulSet" {
                let pod = &mut object["spec"]["template"]["spec"];
                for list in ["initContainers", "containers"] {
                    for container in pod[list].as_array_mut().into_iter().flatten() {
                        container["image"] = image.as_str().into();
                    }
                }
                for volume in pod["volumes"].as_array_mut().into_iter().flatten() {
                    if volume["name"] == "data" {
                        *volume = json!({"name": "data", "persistentVolumeClaim": {"claimName": "main-db"}});
                    }
                }
            }
            objects.push(object);
        }
        Ok(objects)
    }

    async fn make_local_volume(&self, folder: &str) -> Result<()> {
        let path = std::path::Path::new(folder).join(&self.name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path)?;
        std::os::unix::fs::chown(&path, Some(65532), Some(65532))?;
        let volume = json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": self.name},
            "spec": {
                "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "persistentVolumeReclaimPolicy": "Retain",
                "claimRef": {"namespace": self.name, "name": "main-db"}, "local": {"path": path},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}]}]}},
            },
        });
        self.cluster.kubectl(&["delete", "persistentvolume", &self.name, "--ignore-not-found", "--wait", "--timeout=30s"]).await?;
        self.cluster.kubectl_with_input(&["apply", "-f", "-"], &volume.to_string()).await?;
        Ok(())
    }
}
