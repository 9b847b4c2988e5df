//! What a plugin notices of a hostile one beside it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use checkstack_e2e::instance::PATIENCE;
use checkstack_e2e::namespace::Namespace;
use checkstack_e2e::packages::{package, renamed};
use serde_json::json;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// Each kind of attack, and how many of its calls are under way all the time.
pub(crate) const ATTACKS: [&str; 8] = ["loop", "memory", "recursion", "logs", "answer", "entries", "sleep", "lock"];
const AT_ONCE: usize = 8;
/// Quiet and attack take turns, so that what else goes on on the machine meets both.
const ROUNDS: usize = 4;
/// How long the neighbour is asked in each turn.
const TURN: Duration = Duration::from_secs(2);
/// The longest that a call of an attack takes.
const DEADLINE: Duration = Duration::from_secs(1);
/// Between its requests: it is not busy, so that what is seen is the attack.
const PAUSE: Duration = Duration::from_millis(2);

/// The neighbour's p99 without an attack and under it, in milliseconds.
pub(crate) struct Suffering {
    pub(crate) attack: &'static str,
    pub(crate) quiet: f64,
    pub(crate) attacked: f64,
}

/// Every attack, one after the other, against the neighbour at `/api/<neighbour>/hello`. Its quiet value is one: that of all
/// turns in which nobody attacked.
pub(crate) async fn measure(ns: &Namespace, neighbour: &str) -> Result<Vec<Suffering>> {
    let pods = ns.core_pods().await?;
    let address = pods.first().and_then(|pod| pod["status"]["podIP"].as_str()).context("no core pod with an address")?;
    let url = |plugin: &str, path: &str| format!("http://{address}:3000/api/{plugin}/{path}");
    let (mut quiet, mut seen) = (Vec::new(), Vec::new());
    for attack in ATTACKS {
        let attacker = format!("attacker-{attack}");
        let spec = json!({"grants": {"database": true, "deadline": format!("{}s", DEADLINE.as_secs())}});
        ns.install_plugin(&attacker, &renamed(&package("chaos")?, &attacker)?, spec).await?;
        ns.await_plugin_ready(&attacker).await?;
        let (attacking, attacked) = watch::channel(false);
        let attack_url = url(&attacker, &format!("attack/{attack}"));
        let attackers: Vec<_> = (0..AT_ONCE)
            .map(|_| AbortOnDropHandle::new(tokio::spawn(call_again_and_again(attack_url.clone(), attacked.clone()))))
            .collect();
        let mut under_attack = Vec::new();
        for _ in 0..ROUNDS {
            ask(&url(neighbour, "hello"), &mut quiet).await?;
            attacking.send_replace(true);
            tokio::time::sleep(Duration::from_millis(500)).await;
            ask(&url(neighbour, "hello"), &mut under_attack).await?;
            attacking.send_replace(false);
            tokio::time::sleep(DEADLINE + Duration::from_millis(500)).await;
        }
        drop(attackers);
        ns.kubectl(&["delete", &format!("checkstackplugin/{attacker}"), "--timeout=60s"]).await?;
        seen.push((attack, p99(under_attack)?));
    }
    let quiet = p99(quiet)?;
    Ok(seen.into_iter().map(|(attack, attacked)| Suffering { attack, quiet, attacked }).collect())
}

async fn call_again_and_again(url: String, mut attacking: watch::Receiver<bool>) {
    let Ok(client) = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build() else { return };
    while attacking.wait_for(|on| *on).await.is_ok() {
        // Whatever it answers; one that is refused does not hurry.
        let refused = client.get(&url).send().await.is_ok_and(|answer| answer.status() == 503);
        tokio::time::sleep(Duration::from_millis(if refused { 50 } else { 1 })).await;
    }
}

/// One client that asks again and again, for a turn.
async fn ask(url: &str, took: &mut Vec<Duration>) -> Result<()> {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
    let begin = Instant::now();
    while begin.elapsed() < TURN {
        let asked = Instant::now();
        let answer = client.get(url).send().await?;
        ensure!(answer.status() == 200, "the neighbour answered {}", answer.status());
        answer.bytes().await?;
        took.push(asked.elapsed());
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

fn p99(mut took: Vec<Duration>) -> Result<f64> {
    took.sort_unstable();
    let place = took.len() * 99 / 100;
    Ok(took.get(place).context("nothing was measured")?.as_secs_f64() * 1000.0)
}
