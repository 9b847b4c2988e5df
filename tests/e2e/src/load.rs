//! Constant requests to every pod, so that whatever interrupts a plugin is seen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::namespace::{Namespace, condition};

/// Between the requests of one worker.
const PAUSE: Duration = Duration::from_millis(10);
/// An answer takes at most this long.
const PATIENCE: Duration = Duration::from_secs(5);

/// Workers for every pod that is Ready, those that come later included. They stop when it is dropped.
pub struct Load {
    tally: Arc<Mutex<Tally>>,
    supervisor: JoinHandle<()>,
}

/// What came of the requests.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    /// Answered with 200.
    pub answered: u64,
    /// Not answered so, by a pod that was being killed.
    pub excused: u64,
    /// All others.
    pub failures: Vec<String>,
    /// How long answers took, in microseconds.
    took: Vec<u32>,
    disturbed: BTreeSet<String>,
}

impl Tally {
    /// The share of requests that were answered faster, `of` 100.
    pub fn percentile(&self, of: usize) -> Duration {
        let mut sorted = self.took.clone();
        sorted.sort_unstable();
        let place = (sorted.len() * of / 100).min(sorted.len().saturating_sub(1));
        Duration::from_micros(sorted.get(place).copied().unwrap_or_default().into())
    }
}

impl Load {
    /// Begins to ask each pod of the instance for these paths. Pods must be reachable from here.
    pub fn start(ns: &Namespace, paths: &[&str]) -> Self {
        let tally: Arc<Mutex<Tally>> = Arc::default();
        let (ns, paths, shared) = (ns.clone(), paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>(), tally.clone());
        let supervisor = tokio::spawn(async move {
            let mut workers: BTreeMap<String, Vec<Worker>> = BTreeMap::new();
            loop {
                let pods = ns.core_pods().await.unwrap_or_default();
                let ready: BTreeMap<String, String> = pods.iter().filter_map(address).collect();
                workers.retain(|pod, _| pods.iter().any(|object| object["metadata"]["name"] == pod.as_str()));
                for (pod, address) in ready {
                    workers.entry(pod.clone()).or_insert_with(|| {
                        paths.iter().map(|path| Worker::start(&pod, &format!("http://{address}:3000{path}"), &shared)).collect()
                    });
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
        Self { tally, supervisor }
    }

    /// From now on, and until [`Self::expect`], nothing is expected of the pod.
    pub fn disturb(&self, pod: &str) {
        self.with(|tally| tally.disturbed.insert(pod.to_owned()));
    }

    /// From now on all pods are expected to answer.
    pub fn expect(&self) {
        self.with(|tally| tally.disturbed.clear());
    }

    /// What came of the requests so far.
    pub fn tally(&self) -> Tally {
        self.with(|tally| tally.clone())
    }

    /// That no request has failed for which there is no excuse.
    pub fn ensure_no_failure(&self) -> Result<()> {
        let tally = self.tally();
        ensure!(
            tally.failures.is_empty(),
            "{} requests failed, among them: {:#?}",
            tally.failures.len(),
            &tally.failures[..tally.failures.len().min(10)]
        );
        Ok(())
    }

    fn with<T>(&self, work: impl FnOnce(&mut Tally) -> T) -> T {
        work(&mut self.tally.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.supervisor.abort();
    }
}

struct Worker(JoinHandle<()>);

impl Drop for Worker {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Worker {
    fn start(pod: &str, url: &str, tally: &Arc<Mutex<Tally>>) -> Self {
        let (pod, url, tally) = (pod.to_owned(), url.to_owned(), tally.clone());
        Self(tokio::spawn(async move {
            let Ok(client) = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build() else { return };
            loop {
                let begin = Instant::now();
                let problem = match client.get(&url).send().await {
                    Ok(answer) if answer.status() == 200 => answer.bytes().await.err().map(|error| error.to_string()),
                    Ok(answer) => Some(format!("{}: {}", answer.status(), answer.text().await.unwrap_or_default())),
                    Err(error) => Some(format!("{error:?}")),
                };
                let took = begin.elapsed();
                {
                    let mut tally = tally.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    match problem {
                        None => {
                            tally.answered += 1;
                            tally.took.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
                        }
                        Some(_) if tally.disturbed.contains(&pod) => tally.excused += 1,
                        Some(problem) => tally.failures.push(format!("{url} of pod {pod}: {problem}")),
                    }
                }
                tokio::time::sleep(PAUSE).await;
            }
        }))
    }
}

/// Name and address of a pod that is Ready.
fn address(pod: &Value) -> Option<(String, String)> {
    let ready = condition(pod, "Ready").is_some_and(|ready| ready.status == "True");
    let (name, ip) = (pod["metadata"]["name"].as_str()?, pod["status"]["podIP"].as_str()?);
    ready.then(|| (name.to_owned(), ip.to_owned()))
}
