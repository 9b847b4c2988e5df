//! The database goes away and comes back.

use std::sync::Arc;
use std::time::Duration;

use checkstack_events::Mode;
use checkstack_jobs::Timings;
use serde_json::json;

use crate::postgres::Postgres;
use crate::replica::{Replica, groups, hearing, settled};
use crate::replicas::Watchful;
use crate::setup::{Log, Setup, timings, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_accepted_is_lost_when_the_database_restarts() {
    let server = Arc::new(Postgres::start());
    let setup = Setup::postgres_on(&server).await;
    // Longer than the driver waits between two attempts to connect
    let leases = Timings { lease: Duration::from_secs(3), renewal: Duration::from_millis(700), ..timings() };
    let start = async || Replica::on(setup.start_with(leases, json!({})).await);
    let (mut one, mut other) = (start().await, start().await);
    let (work, logs) = (Log::new(), [Log::new(), Log::new()]);
    one.subscribe(Mode::Broadcast, Watchful(logs[0].clone())).await;
    other.subscribe(Mode::Broadcast, Watchful(logs[1].clone())).await;
    other.subscribe(Mode::work_queue("g"), hearing(&work)).await;
    let mut accepted = Vec::new();
    for (round, away) in [(0, Duration::from_millis(300)), (1, leases.lease.mul_f64(1.2))] {
        for number in round * 10..round * 10 + 10 {
            until(async || one.emit(json!(number)).await.ok()).await;
            accepted.push(json!(number));
        }
        let restarting = server.clone();
        tokio::task::spawn_blocking(move || {
            restarting.stop();
            std::thread::sleep(away);
            restarting.run();
        })
        .await
        .unwrap();
    }
    until(async || one.emit(json!("last")).await.ok()).await;
    accepted.push(json!("last"));
    until(async || logs.iter().all(|log| log.entries().contains(&json!("last"))).then_some(())).await;
    settled(&one).await;
    for log in [&logs[0], &logs[1], &work] {
        let heard = log.entries();
        let missing: Vec<_> = accepted.iter().filter(|event| !heard.contains(event)).collect();
        assert!(missing.is_empty(), "{missing:?} of {heard:?}");
        assert!(!heard.contains(&json!("missed")), "all had time to renew their groups");
    }
    one.stop().await;
    other.stop().await;
    assert_eq!(groups(&setup).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_starts_without_its_database_hears_when_it_is_there() {
    let server = Arc::new(Postgres::start());
    let setup = Setup::postgres_on(&server).await;
    server.stop();
    let mut replica = Replica::start(&setup).await;
    let log = Log::new();
    replica.subscribe(Mode::Broadcast, Watchful(log.clone())).await;
    assert!(replica.emit(json!(0)).await.unwrap_err().is_transient());
    let starting = server.clone();
    tokio::task::spawn_blocking(move || starting.run()).await.unwrap();
    assert_eq!(log.reach(1).await, ["missed"], "it was not there from the beginning");
    replica.emit(json!(1)).await.unwrap();
    assert_eq!(log.reach(2).await, [json!("missed"), json!(1)]);
    tokio::time::timeout(Duration::from_secs(10), replica.stop()).await.unwrap();
}
