//! Signals from one replica to the browsers at all of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod browser;
mod replica;

use std::time::{Duration, Instant};

use checkstack_events::Actor;
use checkstack_signals::{SignalId, Standing};
use serde_json::{Value, json};

use replica::{Replica, queues};

fn id(text: &str) -> SignalId {
    text.parse().unwrap()
}

fn said(message: &Value) -> (String, Value) {
    assert_eq!(message["type"], "signal", "{message}");
    (message["signalId"].as_str().unwrap().to_owned(), message["payload"].clone())
}

#[tokio::test]
async fn a_browser_is_told_who_it_is_taken_for_and_answered() {
    let replica = Replica::on(&queues().await).await;
    let (mut ada, mut nobody) = (replica.browser(Some("ada")).await, replica.browser(None).await);
    assert_eq!(ada.text().await, r#"{"type":"connected","userId":"ada"}"#);
    assert_eq!(nobody.text().await, r#"{"type":"connected","userId":"anonymous"}"#);
    for unheard in ["no JSON", r#"{"type":"later"}"#] {
        ada.say(unheard).await;
    }
    ada.say(r#"{"type":"ping"}"#).await;
    assert_eq!(ada.text().await, r#"{"type":"pong"}"#, "nothing else is answered");
}

#[tokio::test]
async fn signals_reach_those_they_are_for_at_every_replica() {
    let queues = queues().await;
    let (first, second) = (Replica::on(&queues).await, Replica::on(&queues).await);
    let mut browsers = Vec::new();
    for replica in [&first, &second] {
        for user in [Some("ada"), Some("bob"), None] {
            browsers.push(replica.connected(user).await);
        }
    }
    first.service.broadcast(&id("uptime.changed"), json!({"up": 1})).await;
    for browser in &mut browsers {
        let message = browser.json().await;
        assert_eq!(said(&message), ("uptime.changed".into(), json!({"up": 1})));
        assert_eq!(message["pluginId"], "uptime");
        assert!(message["timestamp"].as_str().unwrap().ends_with('Z'));
    }
    second.service.send_to_user(&id("uptime.seen"), "ada", json!(2)).await;
    second.service.send_to_users(&id("uptime.all"), &["bob".into(), "cid".into(), "bob".into()], json!(3)).await;
    for (number, browser) in browsers.iter_mut().enumerate() {
        match number % 3 {
            0 => assert_eq!(said(&browser.json().await), ("uptime.seen".into(), json!(2))),
            1 => assert_eq!(said(&browser.json().await), ("uptime.all".into(), json!(3))),
            _ => {}
        }
        browser.hears_nothing().await;
    }
    let sent = |replica: &Replica| (replica.hub.statistics().broadcasts, replica.hub.statistics().to_users);
    assert_eq!((sent(&first), sent(&second)), ((1, 0), (0, 2)));
}

#[tokio::test]
async fn only_those_who_may_see_it_are_told_after_one_question() {
    let replica = Replica::on(&queues().await).await;
    let mut browsers = [replica.connected(Some("ada")).await, replica.connected(Some("bob")).await];
    let (users, rule) = (["ada".to_owned(), "bob".to_owned()], "uptime.target.read".parse().unwrap());
    replica.audience.grants(Ok(&["ada", "somebody-else"]));
    replica.service.send_to_authorized_users(&id("uptime.secret"), &users, json!(1), &rule).await;
    assert_eq!(said(&browsers[0].json().await), ("uptime.secret".into(), json!(1)));
    browsers[1].hears_nothing().await;
    assert_eq!(replica.audience.asked(), ["ada,bob uptime.target.read"]);

    // Nobody to tell, nothing to ask; and nobody is told when it is not known.
    replica.service.send_to_authorized_users(&id("uptime.secret"), &[], json!(1), &rule).await;
    assert!(replica.audience.asked().is_empty());
    replica.audience.grants(Err("down"));
    replica.service.send_to_authorized_users(&id("uptime.secret"), &users, json!(1), &rule).await;
    browsers[0].hears_nothing().await;
}

#[tokio::test]
async fn a_browser_that_does_not_read_is_closed_and_the_others_do_not_wait() {
    let replica = Replica::on(&queues().await).await;
    let (mut slow, mut quick) = (replica.connected(Some("ada")).await, replica.connected(Some("ada")).await);
    let payload = json!("x".repeat(4_000));
    let begin = Instant::now();
    for number in 0..100 {
        replica.service.broadcast(&id("uptime.changed"), json!([number, payload])).await;
        assert_eq!(said(&quick.json().await).1[0], number, "a message was delayed or lost");
    }
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
    assert_eq!(slow.closed_with().await, 1013);
    replica.until(|replica| replica.hub.statistics().slow == 1).await;
    assert_eq!(replica.hub.statistics().open, 1);
}

#[tokio::test]
async fn a_socket_ends_soon_after_its_session() {
    let replica = Replica::on(&queues().await).await;
    let (mut ada, mut bob) = (replica.connected(Some("ada")).await, replica.connected(Some("bob")).await);
    replica.standings.set("ada", Standing::Ended);
    assert_eq!(ada.closed_with().await, 1008);
    replica.service.send_to_user(&id("uptime.seen"), "bob", json!(1)).await;
    assert_eq!(said(&bob.json().await).0, "uptime.seen");
    replica.standings.set("bob", Standing::Unknown);
    assert_eq!(bob.closed_with().await, 1013);
}

#[tokio::test]
async fn a_browser_that_says_too_much_is_closed() {
    let replica = Replica::on(&queues().await).await;
    let mut browser = replica.connected(None).await;
    for _ in 0..100 {
        browser.say(r#"{"type":"unknown"}"#).await;
    }
    assert_eq!(browser.closed_with().await, 1008);
}

#[tokio::test]
async fn what_cannot_be_sent_is_nobodys_trouble() {
    let queues = queues().await;
    let replica = Replica::on(&queues).await;
    let mut browser = replica.connected(None).await;
    replica.service.broadcast(&id("uptime.changed"), json!("x".repeat(100_000))).await;
    replica.events.stop(Duration::ZERO).await;
    replica.service.broadcast(&id("uptime.changed"), json!(1)).await;
    browser.hears_nothing().await;
    assert!(replica.service.bus().broadcast(&id("uptime.changed"), json!(1)).await.is_err());
}

#[tokio::test]
async fn browsers_connect_again_when_signals_may_have_been_missed() {
    let queues = queues().await;
    let replica = Replica::on(&queues).await;
    let mut browser = replica.connected(None).await;
    // Another provider: what was in the old one is not heard.
    replica::change_provider(&queues).await;
    assert_eq!(browser.closed_with().await, 1013);
    let mut again = replica.connected(None).await;
    replica.service.broadcast(&id("uptime.changed"), json!(1)).await;
    assert_eq!(said(&again.json().await).1, json!(1));
}

#[tokio::test]
async fn plugins_that_come_and_go_are_told_once() {
    use checkstack_events::core_hooks::*;
    let replica = Replica::on(&queues().await).await;
    let mut browser = replica.connected(None).await;
    let plugin_id = || "mail".to_owned();
    for _ in 0..2 {
        PLUGIN_INITIALIZED.emit(&replica.events, &PluginInitialized { plugin_id: plugin_id() }, &Actor::system()).await.unwrap();
    }
    assert_eq!(said(&browser.json().await), ("core.plugin.installed".into(), json!({"pluginId": "mail"})));
    browser.hears_nothing().await;
    PLUGIN_DEREGISTERED.emit(&replica.events, &PluginDeregistered { plugin_id: plugin_id() }, &Actor::system()).await.unwrap();
    assert_eq!(said(&browser.json().await), ("core.plugin.deregistered".into(), json!({"pluginId": "mail"})));
}

#[tokio::test]
async fn the_end_of_the_server_is_told() {
    let replica = Replica::on(&queues().await).await;
    let mut browser = replica.connected(None).await;
    replica.ending.cancel();
    assert_eq!(browser.closed_with().await, 1001);
    replica.until(|replica| replica.hub.statistics().open == 0).await;
}
