//! What a plugin notices of a hostile one beside it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use checkstack_e2e::instance::PATIENCE;
use checkstack_e2e::namespace::Namespace;
use checkstack_e2e::packages::{package, renamed};
use serde_json::json;

/// Each kind of attack, and how many of its calls are under way all the time.
pub(crate) const ATTACKS: [&str; 8] = ["loop", "memory", "recursion", "logs", "answer", "entries", "sleep", "lock"];
const AT_ONCE: usize = 8;
/// How long the neighbour is asked, quiet and under each attack.
const DURATION: Duration = Duration::from_secs(6);
/// Between its requests: it is not busy, so that what is seen is the attack.
const PAUSE: Duration = Duration::from_millis(2);

/// The neighbour's p99 before and after an attack, the slower of the two, and during it, in milliseconds.
pub(crate) struct Suffering {
    pub(crate) attack: &'static str,
    pub(crate) quiet: f64,
    pub(crate) attacked: f64,
}

/// Every attack, one after the other, against the neighbour at `/api/<neighbour>/hello`.
pub(crate) async fn measure(ns: &Namespace, neighbour: &str) -> Result<Vec<Suffering>> {
    let pods = ns.core_pods().await?;
    let address = pods.first().and_then(|pod| pod["status"]["podIP"].as_str()).context("no core pod with an address")?;
    let url = |plugin: &str, path: &str| format!("http://{address}:3000/api/{plugin}/{path}");
    let mut seen = Vec::new();
    for attack in ATTACKS {
        let attacker = format!("attacker-{attack}");
        let spec = json!({"grants": {"database": true, "deadline": "1s"}});
        ns.install_plugin(&attacker, &renamed(&package("chaos")?, &attacker)?, spec).await?;
        ns.await_plugin_ready(&attacker).await?;
        let before = p99(&url(neighbour, "hello")).await?;
        let attackers: Vec<_> =
            (0..AT_ONCE).map(|_| tokio::spawn(call_again_and_again(url(&attacker, &format!("attack/{attack}"))))).collect();
        tokio::time::sleep(Duration::from_millis(500)).await;
        let attacked = p99(&url(neighbour, "hello")).await?;
        for attacker in attackers {
            attacker.abort();
        }
        ns.kubectl(&["delete", &format!("checkstackplugin/{attacker}"), "--timeout=60s"]).await?;
        let after = p99(&url(neighbour, "hello")).await?;
        seen.push(Suffering { attack, quiet: before.max(after), attacked });
    }
    Ok(seen)
}

async fn call_again_and_again(url: String) {
    let Ok(client) = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build() else { return };
    loop {
        // Whatever it answers; one that is refused does not hurry.
        let refused = client.get(&url).send().await.is_ok_and(|answer| answer.status() == 503);
        tokio::time::sleep(Duration::from_millis(if refused { 50 } else { 1 })).await;
    }
}

/// Of one client that asks again and again.
async fn p99(url: &str) -> Result<f64> {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
    let mut took = Vec::new();
    let begin = Instant::now();
    while begin.elapsed() < DURATION {
        let asked = Instant::now();
        let answer = client.get(url).send().await?;
        ensure!(answer.status() == 200, "the neighbour answered {}", answer.status());
        answer.bytes().await?;
        took.push(asked.elapsed());
        tokio::time::sleep(PAUSE).await;
    }
    took.sort_unstable();
    let place = took.len() * 99 / 100;
    Ok(took.get(place).context("nothing was measured")?.as_secs_f64() * 1000.0)
}
