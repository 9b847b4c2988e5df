//! Several processes on one database.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use checkstack_events::{Actor, Event, HookId, Listener, ListenerError, Mode};
use checkstack_jobs::Timings;
use futures::future::join_all;
use serde_json::{Value, json};

use crate::postgres::execute;
use crate::replica::{Replica, groups, hearing, numbers, settled};
use crate::setup::{Log, Setup, timings, until};

/// Notes what it is told, also of gaps.
pub(crate) struct Watchful(pub(crate) Log<Value>);

#[async_trait]
impl Listener for Watchful {
    async fn hear(&self, event: Event) -> Result<(), ListenerError> {
        self.0.note(event.payload);
        Ok(())
    }

    fn missed(&self) {
        self.0.note(json!("missed"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broadcast_reaches_each_replica_once_and_a_work_queue_one_of_them() {
    let setup = Setup::postgres().await;
    let shared = Log::new();
    let mut replicas = Vec::new();
    for _ in 0..3 {
        let (mut replica, own) = (Replica::start(&setup).await, Log::new());
        replica.subscribe(Mode::Broadcast, hearing(&own)).await;
        replica.subscribe(Mode::work_queue("shared"), hearing(&shared)).await;
        replicas.push((replica, own));
    }
    for number in 0..60u64 {
        assert_eq!(replicas[number as usize % 3].0.emit(json!(number)).await.unwrap().groups, 4);
    }
    settled(&replicas[0].0).await;
    let mut worked: Vec<u64> = shared.entries().iter().map(|number| number.as_u64().unwrap()).collect();
    worked.sort_unstable();
    assert_eq!(worked, (0..60).collect::<Vec<_>>());
    for (replica, own) in replicas {
        assert_eq!(own.entries(), numbers(0..60));
        replica.stop().await;
    }
    assert_eq!(groups(&setup).await, 1, "only the work queue stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_a_replica_that_dies_are_heard_by_another_fifty_times() {
    let setup = Setup::postgres().await;
    join_all((0..5).map(|chain| deaths(&setup, chain, 10))).await;
}

/// One after the other; each chain has its own hook.
async fn deaths(setup: &Setup, chain: usize, rounds: usize) {
    let timings = Timings { lease: Duration::from_secs(1), ..timings() };
    let hook: HookId = format!("chain.{chain}").parse().unwrap();
    let start = async || Replica::on(setup.start_with(timings, json!({})).await);
    let (begun, heard) = (Log::new(), Log::new());
    let outside = start().await;
    for round in 0..rounds {
        let mut victim = start().await;
        let noted = begun.clone();
        let hanging = move |event: Event| {
            noted.note(event.payload);
            std::future::pending()
        };
        victim.subscribe_to(&hook, Mode::work_queue("g"), hanging).await;
        outside.bus.emit(&hook, json!(round), &Actor::system()).await.unwrap();
        begun.reach(round + 1).await;
        victim.die();
        let mut survivor = start().await;
        let noted = heard.clone();
        let listener = move |event: Event| {
            noted.note((event.payload, event.attempts));
            async { Ok(()) }
        };
        survivor.subscribe_to(&hook, Mode::work_queue("g"), listener).await;
        heard.reach(round + 1).await;
        survivor.stop().await;
    }
    let expected: Vec<(Value, u32)> = (0..rounds).map(|round| (json!(round), 1)).collect();
    assert_eq!(heard.entries(), expected, "each once, after the attempt that died");
    outside.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_dies_leaves_no_group_behind() {
    let setup = Setup::postgres().await;
    let (mut victim, mut survivor) = (Replica::start(&setup).await, Replica::start(&setup).await);
    let (heard, begun) = (Log::new(), Log::new());
    let noted = begun.clone();
    let hanging = move |event: Event| {
        noted.note(event.payload);
        std::future::pending()
    };
    victim.subscribe(Mode::Broadcast, hanging).await;
    survivor.subscribe(Mode::Broadcast, hearing(&heard)).await;
    for number in 0..5 {
        survivor.emit(json!(number)).await.unwrap();
    }
    begun.reach(1).await;
    victim.die();
    until(async || (groups(&setup).await == 1).then_some(())).await;
    assert_eq!(setup.database().value::<i64>("SELECT count(*) FROM checkstack_jobs.deliveries").await, 0);
    assert_eq!(survivor.emit(json!(5)).await.unwrap().groups, 1);
    assert_eq!(heard.reach(6).await, numbers(0..6));
    survivor.stop().await;
    assert_eq!(groups(&setup).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_slept_too_long_joins_anew_and_knows_of_the_gap() {
    let setup = Setup::postgres().await;
    let mut outside = Replica::start(&setup).await;
    let (log, enough, sleep) = (Log::new(), Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (sleeper, noted, ended, asleep) = (setup.unstarted(timings()), log.clone(), enough.clone(), sleep.clone());
    // The runtime of the sleeper has one thread, which is stopped altogether, like SIGSTOP does.
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let backend = checkstack_jobs::ActiveBackend { provider: "postgres".into(), version: 1, ..Default::default() };
            sleeper.follow(backend).await.unwrap();
            let mut sleeper = Replica::on(sleeper);
            sleeper.subscribe(Mode::Broadcast, Watchful(noted)).await;
            while !ended.load(Ordering::SeqCst) {
                if asleep.load(Ordering::SeqCst) {
                    // Hears nothing from here on.
                    asleep.store(false, Ordering::SeqCst);
                    std::thread::sleep(timings().lease * 4);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            sleeper.stop().await;
        });
    });
    until(async || (groups(&setup).await == 1).then_some(())).await;
    outside.emit(json!("before")).await.unwrap();
    log.reach(1).await;
    sleep.store(true, Ordering::SeqCst);
    until(async || (!sleep.load(Ordering::SeqCst)).then_some(())).await;
    let heard = Log::new();
    outside.subscribe(Mode::Broadcast, hearing(&heard)).await;
    // The group of the sleeper is removed.
    until(async || (outside.emit(json!("meanwhile")).await.unwrap().groups == 1).then_some(())).await;
    assert_eq!(log.reach(2).await, ["before", "missed"]);
    outside.emit(json!("after")).await.unwrap();
    assert_eq!(log.reach(3).await, ["before", "missed", "after"]);
    enough.store(true, Ordering::SeqCst);
    thread.join().unwrap();
    outside.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broadcasts_are_not_lost_while_connections_are() {
    let setup = Setup::postgres().await;
    let (mut one, mut other) = (Replica::start(&setup).await, Replica::start(&setup).await);
    let logs = [Log::new(), Log::new()];
    one.subscribe(Mode::Broadcast, Watchful(logs[0].clone())).await;
    other.subscribe(Mode::Broadcast, Watchful(logs[1].clone())).await;
    let mut admin = setup.database().admin().await;
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let mut accepted = Vec::new();
    for number in 0..100u64 {
        if number % 20 == 10 {
            execute(&mut admin, cut).await;
        }
        match one.emit(json!(number)).await {
            Ok(emitted) => {
                assert_eq!(emitted.groups, 2);
                accepted.push(number);
            }
            Err(problem) => assert!(problem.is_transient(), "{problem}"),
        }
    }
    settled(&one).await;
    for log in logs {
        let mut times = BTreeMap::<u64, usize>::new();
        // A listener is told of a gap only where there was one.
        log.entries().iter().for_each(|number| *times.entry(number.as_u64().unwrap()).or_default() += 1);
        let missing: Vec<&u64> = accepted.iter().filter(|number| !times.contains_key(number)).collect();
        assert!(missing.is_empty(), "{missing:?}");
        // A broadcast is not tried again, but one whose end could not be told may be.
        assert!(times.values().all(|times| *times == 1), "{times:?}");
    }
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_arrive_soon() {
    let setup = Setup::postgres().await;
    let (mut one, other) = (Replica::start(&setup).await, Replica::start(&setup).await);
    let log = Log::new();
    one.subscribe(Mode::Broadcast, hearing(&log)).await;
    other.emit(json!(0)).await.unwrap();
    log.reach(1).await;
    // Until it listens
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut fastest = Duration::MAX;
    for number in 1..20 {
        let begin = Instant::now();
        other.emit(json!(number)).await.unwrap();
        log.reach(number + 1).await;
        fastest = fastest.min(begin.elapsed());
    }
    // However busy the machine is: nobody polls.
    assert!(fastest < Duration::from_millis(200), "{fastest:?}");
    one.stop().await;
    other.stop().await;
}
