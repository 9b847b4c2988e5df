//! The space against a simple model: a list for each owner, and a clock that only moves when it is told to.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::memory::entries::OVERHEAD;

const OWNERS: [&str; 3] = ["a", "ab", "b"];
const KEYS: [&str; 6] = ["a", "a:", "ab", "b:x", "b:y", "é"];
/// Room for twelve small entries, of which one owner may have five.
const LIMITS: Limits =
    Limits { total: Usage { bytes: 9 * (OVERHEAD + 20), entries: 12 }, share: Usage { bytes: 4 * (OVERHEAD + 20), entries: 5 } };

#[derive(Debug, Clone)]
enum Step {
    Get { owner: usize, key: usize },
    Peek { owner: usize, key: usize },
    Set { owner: usize, key: usize, bytes: usize, ttl: Option<u64> },
    Delete { owner: usize, key: usize },
    DeleteByPrefix { owner: usize, prefix: &'static str },
    Sweep,
    Wait { milliseconds: u64 },
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    let (owner, key) = (|| 0..OWNERS.len(), || 0..KEYS.len());
    let bytes = prop_oneof![6 => 0..40usize, 2 => 100..600usize, 1 => Just(5 * OVERHEAD)];
    prop_oneof![
        4 => (owner(), key()).prop_map(|(owner, key)| Step::Get { owner, key }),
        1 => (owner(), key()).prop_map(|(owner, key)| Step::Peek { owner, key }),
        8 => (owner(), key(), bytes, prop::option::of(1..100u64))
            .prop_map(|(owner, key, bytes, ttl)| Step::Set { owner, key, bytes, ttl }),
        2 => (owner(), key()).prop_map(|(owner, key)| Step::Delete { owner, key }),
        1 => (owner(), prop::sample::select(vec!["", "a", "a:", "b:", "z"])).prop_map(|(owner, prefix)| Step::DeleteByPrefix { owner, prefix }),
        1 => Just(Step::Sweep),
        3 => (0..60u64).prop_map(|milliseconds| Step::Wait { milliseconds }),
        1 => Just(Step::Clear),
    ]
}

#[derive(Debug, Clone)]
struct Kept {
    key: &'static str,
    value: Value,
    expires: Option<Instant>,
}

/// Of each owner, the least recently used first.
#[derive(Default)]
struct Model {
    owners: BTreeMap<&'static str, Vec<Kept>>,
    hits: u64,
    misses: u64,
}

impl Model {
    fn used_by(&self, owner: &str) -> Usage {
        let mut used = Usage::default();
        for kept in self.owners.get(owner).into_iter().flatten() {
            used += Usage::of(kept.key, &kept.value);
        }
        used
    }

    fn used(&self) -> Usage {
        let mut used = Usage::default();
        for owner in self.owners.keys() {
            used += self.used_by(owner);
        }
        used
    }

    /// Removes what is not wanted; what was removed.
    fn remove(&mut self, owner: &str, goes: impl Fn(&Kept) -> bool) -> Vec<Kept> {
        let Some(kept) = self.owners.get_mut(owner) else { return Vec::new() };
        let (gone, left) = std::mem::take(kept).into_iter().partition(goes);
        *kept = left;
        gone
    }

    fn find(&self, owner: &str, key: &str, now: Instant) -> Option<Value> {
        let kept = self.owners.get(owner)?.iter().find(|kept| kept.key == key)?;
        is_alive(kept, now).then(|| kept.value.clone())
    }

    fn get(&mut self, owner: &str, key: &str, now: Instant) -> Option<Value> {
        let found = self.find(owner, key, now);
        let mut taken = self.remove(owner, |kept| kept.key == key);
        if found.is_some() {
            self.owners.get_mut(owner).unwrap().append(&mut taken);
        }
        self.hits += u64::from(found.is_some());
        self.misses += u64::from(found.is_none());
        found
    }

    fn set(&mut self, owner: &'static str, kept: Kept) -> bool {
        let wanted = Usage::of(kept.key, &kept.value);
        self.owners.entry(owner).or_default();
        self.remove(owner, |other| other.key == kept.key);
        if !wanted.fits(Usage::default(), LIMITS.share) {
            return false;
        }
        while !wanted.fits(self.used_by(owner), LIMITS.share) {
            self.owners.get_mut(owner).unwrap().remove(0);
        }
        while !wanted.fits(self.used(), LIMITS.total) {
            let by_entries = self.used().entries == LIMITS.total.entries;
            let size = |owner: &str| if by_entries { self.used_by(owner).entries } else { self.used_by(owner).bytes };
            let largest = *self.owners.keys().max_by_key(|owner| size(owner)).unwrap();
            self.owners.get_mut(largest).unwrap().remove(0);
        }
        self.owners.get_mut(owner).unwrap().push(kept);
        true
    }
}

fn is_alive(kept: &Kept, now: Instant) -> bool {
    kept.expires.is_none_or(|expires| now < expires)
}

fn count_alive(gone: &[Kept], now: Instant) -> u64 {
    gone.iter().filter(|kept| is_alive(kept, now)).count() as u64
}

fn walk(steps: Vec<Step>) {
    let (space, mut model, mut now) = (Space::new(LIMITS), Model::default(), Instant::now());
    let name = |owner: usize| -> ScopeName { OWNERS[owner].parse().unwrap() };
    for (number, step) in steps.into_iter().enumerate() {
        match step {
            Step::Get { owner, key } => {
                assert_eq!(space.get(&name(owner), KEYS[key], now), model.get(OWNERS[owner], KEYS[key], now));
            }
            Step::Peek { owner, key } => {
                let seen = space.peek(&name(owner), KEYS[key], now).map(|(value, _)| value);
                assert_eq!(seen, model.find(OWNERS[owner], KEYS[key], now));
            }
            Step::Set { owner, key, bytes, ttl } => {
                // Values of any two steps are different.
                let value: Value = number.to_le_bytes().into_iter().chain(std::iter::repeat_n(0, bytes)).collect();
                let ttl = ttl.map(Duration::from_millis);
                let set = space.set(&name(owner), KEYS[key], value.clone(), ttl, now);
                let expires = ttl.map(|ttl| now + ttl);
                assert_eq!(set.is_ok(), model.set(OWNERS[owner], Kept { key: KEYS[key], value, expires }));
            }
            Step::Delete { owner, key } => {
                let gone = model.remove(OWNERS[owner], |kept| kept.key == KEYS[key]);
                assert_eq!(space.delete(&name(owner), KEYS[key], now), count_alive(&gone, now) == 1);
            }
            Step::DeleteByPrefix { owner, prefix } => {
                let gone = model.remove(OWNERS[owner], |kept| kept.key.starts_with(prefix));
                assert_eq!(space.delete_by_prefix(&name(owner), prefix, now), count_alive(&gone, now));
            }
            Step::Sweep => {
                let gone: usize = OWNERS.iter().map(|owner| model.remove(owner, |kept| !is_alive(kept, now)).len()).sum();
                assert_eq!(space.sweep(now), gone);
            }
            Step::Wait { milliseconds } => now += Duration::from_millis(milliseconds),
            Step::Clear => {
                space.clear();
                model.owners.values_mut().for_each(Vec::clear);
            }
        }
        agree(&space, &model, now);
    }
}

fn agree(space: &Space, model: &Model, now: Instant) {
    assert_eq!(space.used(), model.used());
    assert!(space.used().fits(Usage::default(), LIMITS.total), "{:?}", space.used());
    assert_eq!(space.hits_and_misses(), (model.hits, model.misses));
    for (owner, kept) in &model.owners {
        assert!(model.used_by(owner).fits(Usage::default(), LIMITS.share));
        let mut expected: Vec<_> = kept.iter().filter(|kept| is_alive(kept, now)).map(|kept| (kept.key, kept.value.len())).collect();
        expected.sort_unstable();
        let query = EntryQuery { scope: Some(owner.parse().unwrap()), prefix: String::new(), offset: 1, limit: 2 };
        let page = space.list(&query, now);
        let listed: Vec<_> = page.items.iter().map(|entry| (entry.key.as_str(), entry.value_bytes)).collect();
        assert_eq!((page.total, page.has_more), (expected.len() as u64, expected.len() > 3));
        assert_eq!(listed, expected.into_iter().skip(1).take(2).collect::<Vec<_>>());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_space_is_what_the_model_says(steps in prop::collection::vec(step(), 1..80)) {
        walk(steps);
    }
}

#[test]
fn who_fills_its_share_evicts_only_its_own_and_a_small_one_loses_nothing() {
    let entry = Usage::of("key-1", b"v");
    let times = |count: usize| Usage { bytes: entry.bytes * count, entries: count };
    let space = Space::new(Limits { total: times(10), share: times(6) });
    let now = Instant::now();
    let [greedy, other, small]: [ScopeName; 3] = ["greedy", "other", "small"].map(|name| name.parse().unwrap());
    let set = |scope: &ScopeName, number: usize| space.set(scope, &format!("key-{number}"), Value::from(*b"v"), None, now).unwrap();
    let count =
        |scope: &ScopeName| space.list(&EntryQuery { scope: Some(scope.clone()), prefix: String::new(), offset: 0, limit: 10 }, now).total;
    (0..2).for_each(|number| set(&small, number));
    (0..9).for_each(|number| set(&greedy, number));
    assert_eq!((count(&small), count(&greedy)), (2, 6));
    // There is no room any more, although it is far from its share: who has most makes way.
    (0..6).for_each(|number| set(&other, number));
    assert_eq!((count(&small), count(&greedy), count(&other)), (2, 4, 4));
    (0..9).for_each(|number| set(&greedy, number));
    assert_eq!(count(&small), 2);
    assert_eq!(space.used(), times(10));
}

#[test]
fn threads_together_never_exceed_the_limit() {
    let space = Arc::new(Space::new(LIMITS));
    let threads = OWNERS.into_iter().chain(OWNERS).enumerate().map(|(thread, owner)| {
        let (space, scope): (_, ScopeName) = (space.clone(), owner.parse().unwrap());
        std::thread::spawn(move || {
            for number in 0..3_000 {
                let value = Value::from(vec![0; (number * 7 + thread) % 300]);
                space.set(&scope, KEYS[(number + thread) % KEYS.len()], value, None, Instant::now()).unwrap();
                assert!(space.used().fits(Usage::default(), LIMITS.total));
                if number % 50 == thread {
                    space.delete_by_prefix(&scope, "", Instant::now());
                }
            }
        })
    });
    threads.collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().unwrap());
    space.clear();
    assert_eq!(space.used(), Usage::default());
}
