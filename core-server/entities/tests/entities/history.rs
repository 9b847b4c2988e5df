//! Transitions against a simple model: any sequence of changes, with writes of the owner that nobody is told of.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use checkstack_entities::{EntityError, EntitySettings};
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sqlx::{Connection as _, PgConnection};

use crate::replica::{Replica, SystemState, connection, setup, system, write};

const KEPT: u32 = 4;
const STATUSES: [Option<&str>; 3] = [None, Some("healthy"), Some("degraded")];
const DAY: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, Clone)]
enum Step {
    Set {
        status: usize,
        checks: i64,
    },
    Remove,
    /// The owner gives up after it has written.
    Fail {
        status: usize,
    },
    /// The owner writes by itself, which it should not.
    Write {
        status: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let status = || 0..STATUSES.len();
    prop_oneof![
        8 => (status(), 0..2i64).prop_map(|(status, checks)| Step::Set { status, checks }),
        1 => Just(Step::Remove),
        1 => status().prop_map(|status| Step::Fail { status }),
        1 => status().prop_map(|status| Step::Write { status }),
    ]
}

fn state(status: usize, checks: i64) -> SystemState {
    SystemState { status: STATUSES[status].map(str::to_owned), checks }
}

/// What a field was, and is.
#[derive(Debug, Clone, PartialEq)]
struct Transition {
    sequence: u64,
    at: Timestamp,
    /// Whether the entity was there before, and is.
    within: bool,
    to: Option<serde_json::Value>,
}

#[derive(Debug, Default)]
struct Model {
    state: Option<SystemState>,
    sequence: u64,
    fields: BTreeMap<&'static str, Vec<Transition>>,
}

fn values(state: &SystemState) -> [(&'static str, serde_json::Value); 2] {
    [("status", state.status.clone().into()), ("checks", state.checks.into())]
}

impl Model {
    /// Whether it is a change.
    fn change(&mut self, next: Option<SystemState>, at: impl Fn() -> Timestamp) -> bool {
        if self.state == next {
            return false;
        }
        self.sequence += 1;
        let newest = self.sequence;
        for transitions in self.fields.values_mut() {
            let last = transitions.last().map(|transition| transition.sequence);
            transitions.retain(|transition| transition.sequence + u64::from(KEPT) > newest || Some(transition.sequence) == last);
        }
        let value = |state: &Option<SystemState>, field: usize| state.as_ref().map(|state| values(state)[field].1.clone());
        for (number, field) in ["status", "checks"].into_iter().enumerate() {
            let (from, to) = (value(&self.state, number), value(&next, number));
            if from.clone().unwrap_or_default() != to.clone().unwrap_or_default() {
                let transition = Transition { sequence: newest, at: at(), within: from.is_some() && to.is_some(), to };
                self.fields.entry(field).or_default().push(transition);
            }
        }
        self.state = next;
        true
    }

    fn since(&self, field: usize) -> Option<Timestamp> {
        let (name, current) = values(self.state.as_ref()?)[field].clone();
        let newest = self.fields.get(name)?.last()?;
        (newest.to == Some(current)).then_some(newest.at)
    }

    fn count(&self, name: &str) -> u64 {
        self.fields.get(name).into_iter().flatten().filter(|transition| transition.within).count() as u64
    }
}

async fn walk(replica: &Replica, connection: &mut PgConnection, id: &str, steps: Vec<Step>) {
    let mut model = Model::default();
    for step in steps {
        let (next, changed) = match step {
            Step::Set { status, checks } => (Some(state(status, checks)), replica.set(id, state(status, checks)).await.unwrap().change),
            Step::Remove => (None, replica.remove(id).await.unwrap().change),
            Step::Fail { status } => {
                let own = id.to_owned();
                let failed = replica.systems.mutate(id, system(), |connection, _| {
                    Box::pin(async move {
                        write(connection, &own, &state(status, 7)).await?;
                        Err::<(), _>(EntityError::Invalid("no".into()))
                    })
                });
                failed.await.unwrap_err();
                (model.state.clone(), None)
            }
            Step::Write { status } => {
                if model.state.is_some() {
                    write(connection, id, &state(status, 0)).await.unwrap();
                    model.state = Some(state(status, 0));
                }
                (model.state.clone(), None)
            }
        };
        let at = || changed.as_ref().unwrap().occurred_at;
        assert_eq!(model.change(next, at), changed.is_some());
        if let Some(change) = &changed {
            assert_eq!((change.sequence, &change.next), (model.sequence, &model.state));
        }
        assert_eq!(replica.systems.get(id).await.unwrap(), model.state);
        for (number, field) in ["status", "checks"].into_iter().enumerate() {
            assert_eq!(replica.systems.in_state_since(id, field).await.unwrap(), model.since(number), "{field} of {model:?}");
            assert_eq!(replica.systems.transition_count(id, field, DAY).await.unwrap(), model.count(field), "{field} of {model:?}");
            let long = replica.systems.in_state_for(id, field).await.unwrap();
            assert!(long < DAY && (model.since(number).is_some() || long.is_zero()), "{long:?}");
        }
    }
}

#[test]
fn history_is_what_the_model_says() {
    static CASE: AtomicU32 = AtomicU32::new(0);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let setup = runtime.block_on(setup());
    let settings = EntitySettings { changes: KEPT, ..EntitySettings::default() };
    let replica = runtime.block_on(Replica::with(&setup, settings));
    let mut runner = TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() });
    let checked = runner.run(&prop::collection::vec(step(), 1..25), |steps| {
        let id = format!("case-{}", CASE.fetch_add(1, Ordering::Relaxed));
        runtime.block_on(async { walk(&replica, &mut connection(&setup).await, &id, steps).await });
        Ok(())
    });
    checked.unwrap_or_else(|failure| panic!("{failure}"));
    runtime.block_on(replica.stop());
}

/// The clock of the database counts, and only what is within the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transitions_of_long_ago_do_not_count() {
    let setup = setup().await;
    let replica = Replica::start(&setup).await;
    for number in 0..4 {
        replica.set("shop", state(1 + number % 2, 0)).await.unwrap();
    }
    let mut owner = PgConnection::connect(&setup.database().url).await.unwrap();
    let aged = "UPDATE checkstack_entities.transitions SET transitioned_at = transitioned_at - interval '1 hour' WHERE sequence = 2";
    crate::postgres::execute(&mut owner, aged).await;
    assert_eq!(replica.systems.transition_count("shop", "status", DAY).await.unwrap(), 3);
    assert_eq!(replica.systems.transition_count("shop", "status", Duration::from_secs(60)).await.unwrap(), 2);
    assert_eq!(replica.systems.transition_count("shop", "checks", DAY).await.unwrap(), 0, "that it came is no transition");
    assert_eq!(replica.systems.transition_count("shop", "nonsense", DAY).await.unwrap(), 0);
    assert_eq!(replica.systems.in_state_since("shop", "nonsense").await.unwrap(), None);
    assert_eq!(replica.systems.in_state_for("nobody", "status").await.unwrap(), Duration::ZERO);
    replica.stop().await;
}
