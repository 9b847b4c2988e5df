//! Stores against a simple model of what a queue is: any sequence of steps, with workers that die in between.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use checkstack_jobs::memory::MemoryStore;
use checkstack_jobs::postgres::PostgresStore;
use checkstack_jobs::store::{Claim, ClaimRequest, Ending, JobStore, Membership, Outcome};
use checkstack_jobs::{CheckedJob, EnqueueOptions, GroupLifetime, NewJob, QueueName};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;
use sqlx::{Connection as _, PgConnection};

use crate::postgres::execute;
use crate::setup::{Setup, timings};

/// The last is ephemeral.
const GROUPS: [&str; 3] = ["a", "b", "e"];
const EPHEMERAL: usize = 2;
const MAX_RETRIES: u32 = 2;

#[derive(Debug, Clone)]
enum Step {
    Enqueue {
        named: Option<u8>,
        priority: i32,
    },
    Publish,
    Join {
        group: usize,
    },
    Forget {
        group: usize,
    },
    Claim {
        worker: usize,
        group: usize,
        most: usize,
    },
    End {
        worker: usize,
        which: prop::sample::Index,
        ending: Ending,
    },
    /// The worker says again how an attempt ended that was ended before.
    EndAgain {
        worker: usize,
        which: prop::sample::Index,
    },
    /// Its claims expire, and what it says afterwards does not count.
    Die {
        worker: usize,
    },
    /// Another process removes the ephemeral group, since it was not renewed.
    Expire,
}

fn step() -> impl Strategy<Value = Step> {
    let ending = prop_oneof![
        3 => Just(Ending::Completed),
        2 => Just(Ending::Retry { after: Duration::ZERO, reason: "r".into() }),
        1 => Just(Ending::Failed { reason: "f".into() }),
        1 => Just(Ending::GivenBack),
    ];
    prop_oneof![
        6 => (prop::option::weighted(0.5, 0..2u8), -1..2i32).prop_map(|(named, priority)| Step::Enqueue { named, priority }),
        3 => Just(Step::Publish),
        3 => (0..3usize).prop_map(|group| Step::Join { group }),
        1 => (0..3usize).prop_map(|group| Step::Forget { group }),
        1 => Just(Step::Expire),
        6 => (0..2usize, 0..3usize, 1..4usize).prop_map(|(worker, group, most)| Step::Claim { worker, group, most }),
        6 => (0..2usize, any::<prop::sample::Index>(), ending).prop_map(|(worker, which, ending)| Step::End { worker, which, ending }),
        1 => (0..2usize, any::<prop::sample::Index>()).prop_map(|(worker, which)| Step::EndAgain { worker, which }),
        1 => (0..2usize).prop_map(|worker| Step::Die { worker }),
    ]
}

#[derive(Debug, Clone)]
struct ModelJob {
    id: String,
    named: bool,
    priority: i32,
    /// When it can be taken, and when it was enqueued
    at: (usize, usize),
    attempts: u32,
}

#[derive(Debug, Default)]
struct Lane {
    waiting: Vec<ModelJob>,
    active: BTreeMap<Claim, (usize, ModelJob)>,
}

impl Lane {
    fn add(&mut self, job: ModelJob) {
        if !(job.named && self.waiting.iter().any(|other| other.named && other.id == job.id)) {
            self.waiting.push(job);
        }
    }
}

#[derive(Debug, Default)]
struct Model {
    groups: BTreeMap<usize, Lane>,
    without_group: Lane,
    completed: u64,
    failed: u64,
    time: usize,
}

impl Model {
    fn enqueue(&mut self, id: &str, named: bool, priority: i32) {
        let job = ModelJob { id: id.into(), named, priority, at: (self.time, self.time), attempts: 0 };
        match self.groups.is_empty() {
            true => self.without_group.add(job),
            false => self.groups.values_mut().for_each(|lane| lane.add(job.clone())),
        }
    }

    fn publish(&mut self, id: &str) -> u64 {
        let job = ModelJob { id: id.into(), named: false, priority: 0, at: (self.time, self.time), attempts: 0 };
        self.groups.values_mut().for_each(|lane| lane.add(job.clone()));
        self.groups.len() as u64
    }

    fn claim(&mut self, group: usize, most: usize) -> Vec<ModelJob> {
        let Some(lane) = self.groups.get_mut(&group) else { return Vec::new() };
        lane.waiting.sort_by_key(|job| (Reverse(job.priority), job.at));
        let rest = lane.waiting.split_off(most.min(lane.waiting.len()));
        std::mem::replace(&mut lane.waiting, rest)
    }

    /// Whether the claim held.
    fn end(&mut self, claim: &Claim, ending: &Ending) -> bool {
        let Some(lane) = self.groups.values_mut().find(|lane| lane.active.contains_key(claim)) else { return false };
        let (_, mut job) = lane.active.remove(claim).unwrap();
        match ending {
            Ending::Completed => self.completed += 1,
            Ending::Failed { .. } => self.failed += 1,
            Ending::GivenBack => lane.waiting.push(job),
            Ending::Retry { .. } => {
                job.attempts += 1;
                job.at.0 = self.time;
                lane.waiting.push(job);
            }
        }
        true
    }

    fn claims_of(&self, worker: usize) -> Vec<Claim> {
        let all = self.groups.values().flat_map(|lane| &lane.active);
        all.filter(|(_, (owner, _))| *owner == worker).map(|(claim, _)| *claim).collect()
    }

    fn die(&mut self, worker: usize) {
        for claim in self.claims_of(worker) {
            let attempts = self.groups.values().find_map(|lane| lane.active.get(&claim)).unwrap().1.attempts;
            let ending = match attempts < MAX_RETRIES {
                true => Ending::Retry { after: Duration::ZERO, reason: String::new() },
                false => Ending::Failed { reason: String::new() },
            };
            self.end(&claim, &ending);
        }
    }
}

/// Workers, each with its view of the store.
struct World<'a> {
    queue: QueueName,
    workers: [&'a dyn JobStore; 2],
    /// To make claims expire; in memory, workers do not die by themselves.
    database: Option<PgConnection>,
    model: Model,
    ended: Vec<Claim>,
}

impl World<'_> {
    async fn take(&mut self, number: usize, step: Step) {
        self.model.time += 1;
        let queue = self.queue.clone();
        match step {
            Step::Enqueue { named, priority } => {
                let id = named.map_or_else(|| format!("job-{number}"), |name| format!("named-{name}"));
                let options = EnqueueOptions { priority, job_id: named.map(|_| id.clone()), ..EnqueueOptions::default() };
                // The id of a job without a given name is in its data.
                let job = CheckedJob::new(&queue, &NewJob::with(json!(id), options)).unwrap();
                self.workers[0].enqueue(&queue, &[job]).await.unwrap();
                self.model.enqueue(&id, named.is_some(), priority);
            }
            Step::Publish => {
                let id = format!("job-{number}");
                let job = CheckedJob::new(&queue, &NewJob::new(json!(id))).unwrap();
                let published = self.workers[1].publish(&queue, &job).await.unwrap();
                assert_eq!((published.groups, published.full), (self.model.publish(&id), vec![]));
            }
            Step::Join { group } => {
                let lifetime = if group == EPHEMERAL { GroupLifetime::Ephemeral } else { GroupLifetime::Durable };
                self.workers[0].join(&queue, GROUPS[group], lifetime).await.unwrap();
                let lane = self.model.groups.entry(group).or_default();
                if lifetime == GroupLifetime::Durable {
                    std::mem::take(&mut self.model.without_group.waiting).into_iter().for_each(|job| lane.add(job));
                }
            }
            Step::Forget { group } => {
                let was = self.workers[1].forget(&queue, GROUPS[group]).await.unwrap();
                assert_eq!(was, self.model.groups.remove(&group).is_some());
            }
            Step::Claim { worker, group, most } => {
                let request = ClaimRequest { queue, group: GROUPS[group].into(), most, max_retries: MAX_RETRIES };
                let claimed = self.workers[worker].claim(&request).await.unwrap().jobs;
                let expected = self.model.claim(group, most);
                let seen: Vec<(String, u32)> = claimed.iter().map(|job| (serde_json::from_str(&job.data).unwrap(), job.attempts)).collect();
                assert_eq!(seen, expected.iter().map(|job| (job.id.clone(), job.attempts)).collect::<Vec<_>>());
                for (job, expected) in claimed.iter().zip(expected) {
                    assert!(!self.ended.contains(&job.claim), "claims are never the same");
                    self.model.groups.get_mut(&group).unwrap().active.insert(job.claim, (worker, expected));
                }
            }
            Step::End { worker, which, ending } => {
                let claims = self.model.claims_of(worker);
                if !claims.is_empty() {
                    let claim = *which.get(&claims);
                    assert!(self.end(worker, claim, ending.clone()).await);
                    assert!(self.model.end(&claim, &ending));
                    self.ended.push(claim);
                }
            }
            Step::EndAgain { worker, which } => {
                if !self.ended.is_empty() {
                    let claim = *which.get(&self.ended);
                    assert!(!self.end(worker, claim, Ending::Completed).await, "it was ended before");
                }
            }
            Step::Die { worker } => {
                let Some(database) = &mut self.database else { return };
                let claims = self.model.claims_of(worker);
                let ids: Vec<String> = claims.iter().map(|claim| claim.delivery.to_string()).collect();
                let expire = "UPDATE checkstack_jobs.deliveries SET lease_until = now() - interval '1 second' WHERE id = ANY";
                execute(database, &format!("{expire} ('{{{}}}'::bigint[])", ids.join(","))).await;
                assert_eq!(self.workers[1 - worker].recover().await.unwrap(), claims.len() as u64);
                assert!(self.workers[worker].renew(&claims).await.unwrap().is_empty());
                self.model.die(worker);
                for claim in claims {
                    assert!(!self.end(worker, claim, Ending::Completed).await, "its claim was lost");
                    self.ended.push(claim);
                }
            }
            Step::Expire => {
                let membership = Membership { queue, group: GROUPS[EPHEMERAL].into() };
                let there = self.model.groups.remove(&EPHEMERAL).is_some();
                let held = self.workers[0].renew_groups(std::slice::from_ref(&membership)).await.unwrap();
                assert_eq!(held.contains(&membership), there || self.database.is_none());
                assert_eq!(self.workers[1].forget(&membership.queue, &membership.group).await.unwrap(), there);
                let held = self.workers[0].renew_groups(std::slice::from_ref(&membership)).await.unwrap();
                // In memory nobody but its own consumer removes it.
                assert_eq!(held.is_empty(), self.database.is_some());
            }
        }
        let stats = self.workers[0].stats(std::slice::from_ref(&self.queue)).await.unwrap();
        let lanes = || self.model.groups.values().chain([&self.model.without_group]);
        let waiting: usize = lanes().map(|lane| lane.waiting.len()).sum();
        let active: usize = lanes().map(|lane| lane.active.len()).sum();
        assert_eq!((stats.pending, stats.processing), (waiting as u64, active as u64));
        assert_eq!((stats.completed, stats.failed), (self.model.completed, self.model.failed));
        assert_eq!(stats.consumer_groups, self.model.groups.len() as u64);
    }

    async fn end(&self, worker: usize, claim: Claim, ending: Ending) -> bool {
        let outcome = Outcome { claim, queue: self.queue.clone(), ending };
        let accepted = self.workers[worker].finish(&[outcome]).await.unwrap();
        accepted == HashSet::from([claim])
    }
}

fn check(cases: u32, run: impl Fn(QueueName, Vec<Step>)) {
    static CASE: AtomicU32 = AtomicU32::new(0);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let checked = runner.run(&prop::collection::vec(step(), 1..60), |steps| {
        let queue = format!("case-{}", CASE.fetch_add(1, Ordering::Relaxed));
        run(queue.parse().unwrap(), steps);
        Ok(())
    });
    checked.unwrap_or_else(|failure| panic!("{failure}"));
}

async fn walk(queue: QueueName, workers: [&dyn JobStore; 2], database: Option<PgConnection>, steps: Vec<Step>) {
    let mut world = World { queue, workers, database, model: Model::default(), ended: Vec::new() };
    for (number, step) in steps.into_iter().enumerate() {
        world.take(number, step).await;
    }
}

#[test]
fn jobs_in_memory_are_what_the_model_says() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    check(300, |queue, steps| {
        let store = MemoryStore::new(1_000, 1.0, timings().retention);
        runtime.block_on(walk(queue, [&store, &store], None, steps));
    });
}

#[test]
fn jobs_in_postgres_are_what_the_model_says() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let setup = runtime.block_on(Setup::postgres());
    // So long that only those expire that are made to.
    let timings = checkstack_jobs::Timings { lease: Duration::from_secs(600), ..timings() };
    let stores = runtime.block_on(async { [(); 2].map(|()| PostgresStore::new(setup.pool(), 1_000, timings)) });
    check(24, |queue, steps| {
        runtime.block_on(async {
            let database = PgConnection::connect(&setup.database().url).await.unwrap();
            walk(queue, [&stores[0], &stores[1]], Some(database), steps).await;
        });
    });
}
