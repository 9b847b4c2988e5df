//! Configurations of native plugins: stored with a version, secrets encrypted, over two replicas and releases.

use std::sync::{Arc, Mutex};

use checkstack_platform::native::{Configuration, ConfigurationError, Configurations, NativeParts, NativeServices};
use checkstack_settings::record::Versioned;
use checkstack_settings::secret::SecretString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::instance::{Instance, Pod};
use crate::postgres::execute;

const ID: &str = "mail";
const CANARY: &str = "hunter2-canary";
const OLD_KEY: char = '1';
const NEW_KEY: char = '2';

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
struct First {
    server: String,
    password: SecretString,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Mail {
    #[schemars(length(min = 1))]
    host: String,
    #[schemars(length(min = 8))]
    password: SecretString,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Limits {
    #[serde(default)]
    seconds: u64,
}

fn first() -> Versioned<First> {
    Versioned::starting_with::<First>().build().unwrap()
}

fn mail() -> Versioned<Mail> {
    let steps = Versioned::starting_with::<First>();
    steps.then("server became host", |old| Ok(Mail { host: old.server, password: old.password })).build().unwrap()
}

/// An instance with an encryption key, and what native plugins get in two of its pods.
struct Two {
    instance: Instance,
    services: [Configurations; 2],
    _pods: [Pod; 2],
}

impl Two {
    async fn new() -> Self {
        let instance = Instance::new().await;
        instance.write("encryption/current", &key(OLD_KEY));
        let (one, first) = started(&instance, "one").await;
        let (other, second) = started(&instance, "other").await;
        Self { instance, services: [one, other], _pods: [first, second] }
    }

    fn define<T>(&self, pod: usize, format: Versioned<T>) -> Configuration<T> {
        self.services[pod].define(&"notifier".parse().unwrap(), ID, format).unwrap()
    }

    async fn stored(&self) -> Value {
        serde_json::from_str(&self.instance.database.value::<String>("SELECT record::text FROM checkstack.plugin_configs").await).unwrap()
    }
}

async fn started(instance: &Instance, name: &str) -> (Configurations, Pod) {
    let pod = instance.new_pod(name).await;
    let given = Arc::new(Mutex::new(None));
    let take = given.clone();
    let make = move |services: NativeServices| {
        *take.lock().unwrap() = Some(services.configurations);
        Ok(NativeParts::default())
    };
    pod.platform.start(instance.loader(), make).await.unwrap();
    let configurations = given.lock().unwrap().take().unwrap();
    (configurations, pod)
}

fn key(digit: char) -> Vec<u8> {
    digit.to_string().repeat(64).into_bytes()
}

fn entered(host: &str, password: &str) -> Value {
    json!({"host": host, "password": password})
}

#[tokio::test]
async fn what_is_set_on_one_replica_is_read_on_another_and_secrets_are_not_stored_as_they_are() {
    let two = Two::new().await;
    let [here, there] = [two.define(0, mail()), two.define(1, mail())];
    assert_eq!(there.read().await.unwrap(), None);
    assert_eq!(there.redacted().await.unwrap(), None);
    here.write(entered("a", CANARY)).await.unwrap();
    let read = there.read().await.unwrap().unwrap();
    assert_eq!((read.host.as_str(), read.password.reveal()), ("a", CANARY));
    assert_eq!(there.redacted().await.unwrap(), Some(json!({"host": "a"})));
    let stored = two.stored().await;
    assert_eq!((&stored["version"], &stored["pluginId"], &stored["data"]["host"]), (&json!(2), &json!("notifier"), &json!("a")));
    assert!(!stored.to_string().contains(CANARY), "{stored}");
    assert_eq!(two.services[0].ids(&"notifier".parse().unwrap()).await.unwrap(), [ID]);
    assert!(two.services[0].ids(&"other".parse().unwrap()).await.unwrap().is_empty());
    assert!(there.delete().await.unwrap() && !here.delete().await.unwrap());
    assert_eq!(here.read().await.unwrap(), None);
}

#[tokio::test]
async fn a_blank_secret_stays_and_what_is_not_valid_changes_nothing() {
    let two = Two::new().await;
    let [here, there] = [two.define(0, mail()), two.define(1, mail())];
    let nothing_to_keep = here.write(entered("a", "")).await.unwrap_err();
    assert!(matches!(nothing_to_keep, ConfigurationError::Invalid { .. }), "{nothing_to_keep}");
    assert!(two.services[0].ids(&"notifier".parse().unwrap()).await.unwrap().is_empty(), "nothing was stored");
    here.write(entered("a", CANARY)).await.unwrap();
    there.write(json!({"host": "b"})).await.unwrap();
    for wrong in [entered("", ""), entered("c", "tiny-pw"), json!({"host": "c", "unknown": 1}), json!([])] {
        let problem = here.write(wrong.clone()).await.unwrap_err();
        assert!(matches!(problem, ConfigurationError::Invalid { .. }), "{wrong}: {problem}");
        assert!(!problem.to_string().contains("tiny-pw"), "{problem}");
    }
    let read = here.read().await.unwrap().unwrap();
    assert_eq!((read.host.as_str(), read.password.reveal()), ("b", CANARY));
}

#[tokio::test]
async fn writers_do_not_lose_what_the_other_has_set() {
    let two = Two::new().await;
    let [here, there] = [two.define(0, mail()), two.define(1, mail())];
    for round in 0..20 {
        let password = format!("{CANARY}-{round}");
        // Whoever comes second keeps the new password, or sets it: never the one before.
        let (set, kept) = tokio::join!(here.write(entered("set", &password)), there.write(entered("kept", "")));
        set.unwrap();
        if round > 0 {
            kept.unwrap();
        }
        assert_eq!(there.read().await.unwrap().unwrap().password.reveal(), password);
    }
}

#[tokio::test]
async fn a_release_brings_what_an_older_one_has_stored_to_its_own_version_and_an_older_one_says_so() {
    let two = Two::new().await;
    let (old, new) = (two.define(0, first()), two.define(1, mail()));
    old.write(json!({"server": "a", "password": CANARY})).await.unwrap();
    assert_eq!(new.redacted().await.unwrap(), Some(json!({"host": "a"})));
    assert_eq!(two.stored().await["version"], 1, "to show it changes nothing");
    let read = new.read().await.unwrap().unwrap();
    assert_eq!((read.host.as_str(), read.password.reveal()), ("a", CANARY));
    let stored = two.stored().await;
    assert_eq!((&stored["version"], &stored["originalVersion"]), (&json!(2), &json!(1)));
    assert!(stored["migratedAt"].is_string() && !stored.to_string().contains(CANARY), "{stored}");

    let problem = old.read().await.unwrap_err();
    assert!(matches!(problem, ConfigurationError::Migration { .. }) && problem.to_string().contains('2'), "{problem}");
    assert!(old.write(json!({"server": "b", "password": CANARY})).await.is_err());
    assert_eq!(two.stored().await, stored, "and nothing is lost");
}

#[tokio::test]
async fn a_key_is_exchanged_and_what_it_cannot_open_is_named() {
    let two = Two::new().await;
    let configuration = two.define(0, mail());
    let limits =
        two.services[0].define(&"limits".parse().unwrap(), "limits", Versioned::starting_with::<Limits>().build().unwrap()).unwrap();
    configuration.write(entered("a", CANARY)).await.unwrap();
    limits.write(json!({"seconds": 3})).await.unwrap();
    let reencrypt = || two.services[0].reencrypt();
    let counts = |outcome: checkstack_platform::native::Reencrypted| (outcome.reencrypted, outcome.unchanged, outcome.failures.len());
    assert_eq!(counts(reencrypt().await.unwrap()), (0, 2, 0));

    two.instance.write("encryption/current", &key(NEW_KEY));
    let lost = reencrypt().await.unwrap();
    assert_eq!((lost.reencrypted, lost.unchanged, lost.failures[0].0.as_str()), (0, 1, "notifier/mail"));
    assert!(matches!(configuration.read().await.unwrap_err(), ConfigurationError::Secret(_)));
    assert_eq!(limits.read().await.unwrap(), Some(Limits { seconds: 3 }), "it has no secrets");
    two.instance.write("encryption/previous", &key(OLD_KEY));
    assert_eq!(counts(reencrypt().await.unwrap()), (1, 1, 0));
    std::fs::remove_file(two.instance.directory.path().join("encryption/previous")).unwrap();
    assert_eq!(configuration.read().await.unwrap().unwrap().password.reveal(), CANARY);

    std::fs::remove_file(two.instance.directory.path().join("encryption/current")).unwrap();
    limits.write(json!({})).await.unwrap();
    assert_eq!(limits.read().await.unwrap(), Some(Limits { seconds: 0 }));
    for problem in [configuration.read().await.unwrap_err(), configuration.write(entered("b", "another-one")).await.unwrap_err()] {
        assert!(matches!(problem, ConfigurationError::Keys(_)) && !problem.to_string().contains("another-one"), "{problem}");
    }
}

#[tokio::test]
async fn what_is_stored_and_no_record_is_named() {
    let two = Two::new().await;
    let configuration = two.define(0, mail());
    configuration.write(entered("a", CANARY)).await.unwrap();
    execute(&mut two.instance.database.admin().await, "UPDATE checkstack.plugin_configs SET record = '[1]'").await;
    let problem = configuration.read().await.unwrap_err();
    assert!(matches!(problem, ConfigurationError::Unreadable { .. }) && problem.to_string().contains("'mail' of 'notifier'"), "{problem}");
    assert_eq!(two.services[0].reencrypt().await.unwrap().failures.len(), 1);
}
