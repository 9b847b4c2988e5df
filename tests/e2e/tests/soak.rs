//! Plugins change under constant load, again and again; some of the changes are bad, and pods and operators are killed
//! meanwhile. Nobody who uses a plugin notices, all pods end with the same, and nothing is left behind.
//!
//! `CHECKSTACK_E2E_CHANGES` says how many changes there are (`make soak`: 200), `CHECKSTACK_E2E_SEED` which ones.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "figures, for docs/benchmarks.md")]

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use checkstack_e2e::eventually::eventually;
use checkstack_e2e::footprint::Footprint;
use checkstack_e2e::instance::PATIENCE;
use checkstack_e2e::load::Load;
use checkstack_e2e::namespace::Namespace;
use checkstack_e2e::packages::{package, renamed, with_files, with_metadata};
use checkstack_e2e::processes::{self, Victim};
use serde_json::{Value, json};

use crate::operator_alone;

const REPLICAS: u32 = 3;
/// How many good ones of a plugin are remembered.
const HISTORY: u32 = 3;
/// After so many changes everything has been needed once.
const WARM: u32 = 5;

/// Numbers that look random and are the same for the same seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[usize::try_from(self.roll(of.len() as u64)).unwrap()]
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// A change of the plugin `subject`.
struct Change {
    spec: Value,
    /// What it says in `/version` when it has come to serve.
    label: String,
    /// Why it will not.
    bad: Option<&'static str>,
}

struct Soak {
    ns: Namespace,
    dice: Dice,
    /// What serves.
    label: String,
    /// The version that serves, and how it is asked for.
    source: Value,
    stored: u32,
    excuses: u32,
}

impl Soak {
    async fn begin(seed: u64) -> Result<Self> {
        let ns = Namespace::create("soak").await?;
        ns.bring_up_database().await?;
        ns.apply_instance(
            json!({"replicas": REPLICAS, "rollout": {"progressDeadlineSeconds": 10}, "plugins": {"revisionHistoryLimit": HISTORY}}),
        )
        .await?;
        ns.await_condition("checkstack/main", "Ready", "True", "", PATIENCE).await?;
        ns.install_plugin("neighbour", &renamed(&package("chaos")?, "neighbour")?, json!({"grants": {"database": true}})).await?;
        let mut this = Self { ns, dice: Dice(seed), label: String::new(), source: Value::Null, stored: 0, excuses: 0 };
        this.source = this.store(0).await?;
        let first = Change { spec: this.spec("first", &json!({}), &json!({})), label: "first".into(), bad: None };
        this.make(first).await?;
        this.ns.await_plugin_ready("neighbour").await?;
        Ok(this)
    }

    /// Stores a version that has none, one or two migrations; how it is asked for. There are never more than a few.
    async fn store(&mut self, number: u32) -> Result<Value> {
        let version = format!("1.{number}.0");
        let package = with_metadata(&renamed(&package("chaos")?, "subject")?, |metadata| metadata["version"] = version.as_str().into())?;
        let migrations = (1..=number % 3).flat_map(|step| {
            let name = format!("migrations/{step:04}_t{step}");
            [
                (format!("{name}.up.sql"), format!("CREATE TABLE t{step} (id int)")),
                (format!("{name}.down.sql"), format!("DROP TABLE t{step}")),
            ]
        });
        let package = with_files(&package, migrations.map(|(name, text)| (name, text.into_bytes())))?;
        // What is asked for now is never written over.
        self.stored += 1;
        let name = format!("subject-{}", self.stored % 16);
        self.ns.store_package(&name, &package).await?;
        Ok(json!({"tarball": {"configMapRef": {"name": name, "key": "package.tgz"}}}))
    }

    fn spec(&self, label: &str, config: &Value, grants: &Value) -> Value {
        let mut spec = json!({"source": self.source, "config": {"label": label}, "grants": {"database": true, "memory": "32Mi"}});
        for (field, more) in [("config", config), ("grants", grants)] {
            spec[field].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        }
        spec
    }

    async fn next(&mut self, number: u32) -> Result<Change> {
        let label = format!("change-{number}");
        if number % 5 == 4 {
            let (config, bad) = *self.dice.pick(&[
                (r#"{"init": "memory"}"#, "MemoryExceeded"),
                (r#"{"colour": "red"}"#, "InvalidConfig"),
                (r#"{"init": "fail"}"#, "InitFailed"),
                (r#"{"afterPluginsReady": "trap"}"#, "Trapped"),
                (r#"{"probe": "fail"}"#, "ProbeFailed"),
            ]);
            let before = self.source.clone();
            if self.dice.roll(2) == 0 {
                self.source = self.store(number).await?;
            }
            let spec = self.spec(&label, &serde_json::from_str(config)?, &json!({}));
            self.source = before;
            return Ok(Change { spec, label, bad: Some(bad) });
        }
        let grants = match self.dice.roll(3) {
            0 => {
                self.source = self.store(number).await?;
                json!({})
            }
            1 => json!({"deadline": format!("{}s", 2 + number % 5)}),
            _ => json!({}),
        };
        Ok(Change { spec: self.spec(&label, &json!({}), &grants), label, bad: None })
    }

    /// Makes a change and waits for what must come of it.
    async fn make(&mut self, change: Change) -> Result<()> {
        self.ns.apply_plugin("subject", change.spec).await?;
        match change.bad {
            None => {
                self.ns.await_plugin_ready("subject").await?;
                self.label = change.label;
            }
            Some(reason) => {
                self.ns.await_condition("checkstackplugin/subject", "RolledBack", "True", reason, PATIENCE).await?;
            }
        }
        let expected = self.label.as_str();
        eventually(&format!("all pods have {expected}"), PATIENCE, || async {
            let pods = self.ns.core_pod_names().await?;
            ensure!(pods.len() == REPLICAS as usize, "{} pods", pods.len());
            for pod in &pods {
                let answer = self.ns.cluster.request("GET", &self.ns.name, &format!("pods/{pod}:3000"), "/api/subject/version", "").await?;
                ensure!(answer.status == 200 && answer.json()?["label"] == *expected, "{pod}: {answer:?}");
            }
            Ok(())
        })
        .await
    }

    /// Kills something, some time after the change.
    async fn disturb(&mut self, number: u32, load: &Load) -> Result<()> {
        let kill_pod = number % 7 == 3;
        let kill_operator = number % 11 == 5;
        if !kill_pod && !kill_operator {
            return Ok(());
        }
        self.excuses += 1;
        tokio::time::sleep(Duration::from_millis(self.dice.roll(1500))).await;
        if kill_operator {
            let operator = self.ns.operator_process(&self.ns.leading_operator().await?).await?;
            operator.kill_again().await?;
        }
        if kill_pod {
            let pods = self.ns.core_pods().await?;
            let pod = self.dice.pick(&pods);
            let name = pod["metadata"]["name"].as_str().context("no name")?;
            load.disturb(name);
            Victim::find(&self.ns.cluster, &self.ns.name, name, "checkstack-server").await?.kill_again().await?;
        }
        Ok(())
    }

    async fn all_is_well(&self, load: &Load) -> Result<()> {
        let ready = format!("{REPLICAS}/{REPLICAS}");
        eventually("all pods are Ready and report the same", PATIENCE, || async {
            let instance = self.ns.get("checkstack/main").await?;
            ensure!(instance["status"]["podsReady"] == ready.as_str(), "{}", instance["status"]["podsReady"]);
            for plugin in ["subject", "neighbour"] {
                let pods = self.ns.get(&format!("checkstackplugin/{plugin}")).await?["status"]["pods"].take();
                let pods = pods.as_array().context("no pods")?;
                let same = |pod: &Value| (pod["digest"].clone(), pod["version"].clone());
                ensure!(pods.len() == REPLICAS as usize && pods.iter().all(|pod| same(pod) == same(&pods[0])), "{plugin}: {pods:?}");
            }
            Ok(())
        })
        .await?;
        load.expect();
        load.ensure_no_failure()
    }
}

mod operator_alone {
    use super::*;

    #[tokio::test]
    async fn changes_under_load() -> Result<()> {
        if !processes::are_here() {
            eprintln!("not run: it asks pods by their addresses, and looks at their processes");
            return Ok(());
        }
        let _operator = operator_alone().await;
        let changes = u32::try_from(setting("CHECKSTACK_E2E_CHANGES", 11))?;
        let seed = setting("CHECKSTACK_E2E_SEED", 1);
        let begin = Instant::now();
        let mut soak = Soak::begin(seed).await?;
        let load = Load::start(&soak.ns, &["/api/subject/version", "/api/neighbour/version"]);
        let mut warm = Footprint::default();
        for number in 1..=changes {
            if number == WARM.min(changes) {
                warm = soak.ns.footprint().await?;
            }
            let change = soak.next(number).await?;
            // Both at once, so that what dies is in the middle of something.
            let spec = change.spec.clone();
            soak.ns.apply_plugin("subject", spec).await?;
            soak.disturb(number, &load).await?;
            soak.make(change).await.with_context(|| format!("change {number} of seed {seed}"))?;
            soak.all_is_well(&load).await.with_context(|| format!("after change {number} of seed {seed}"))?;
        }
        // Connections and instances that nobody needs go after a while.
        tokio::time::sleep(Duration::from_secs(25)).await;
        let (end, tally) = (soak.ns.footprint().await?, load.tally());
        println!("{changes} changes in {} s, {} of them with something killed", begin.elapsed().as_secs(), soak.excuses);
        println!(
            "{} requests answered (p50 {:?}, p99 {:?}), {} to killed pods not, {} others not",
            tally.answered,
            tally.percentile(50),
            tally.percentile(99),
            tally.excused,
            tally.failures.len()
        );
        println!("after {WARM} changes: {warm}\nafter {changes} changes: {end}");
        load.ensure_no_failure()?;
        ensure!(tally.answered > u64::from(changes) * 100, "the load was hardly any: {}", tally.answered);
        // What two plugins run, what one of them may go back to, and what did not come to serve last.
        ensure!(end.artifacts <= u64::from(2 + HISTORY + 2), "{} artifacts in the store", end.artifacts);
        ensure!((end.roles, end.schemas) == (warm.roles, warm.schemas), "{end:?}");
        ensure!(end.connections <= warm.connections + u64::from(REPLICAS), "connections: {} after {}", end.connections, warm.connections);
        for (what, before, after) in [
            ("artifacts on disk", warm.most(|pod| pod.unpacked), end.most(|pod| pod.unpacked)),
            ("threads", usize::try_from(warm.most(|pod| pod.threads))?, usize::try_from(end.most(|pod| pod.threads))?),
            ("open files", warm.most(|pod| pod.files), end.most(|pod| pod.files)),
            ("instances", usize::try_from(warm.most(|pod| pod.instances))?, usize::try_from(end.most(|pod| pod.instances))?),
        ] {
            ensure!(after <= before + before / 4 + 4, "{what}: {after} after {before}");
        }
        let (before, after) = (warm.most(|pod| pod.kibibytes), end.most(|pod| pod.kibibytes));
        ensure!(after <= before * 3 / 2, "resident memory: {after} KiB after {before} KiB");
        drop(load);
        soak.ns.remove().await
    }
}
