//! What the other replicas have yet to be told. It is bounded: what there is no room for becomes something less exact that says more.

use std::collections::{BTreeMap, BTreeSet};

use crate::entry::ScopeName;

/// Most keys and prefixes of one owner. More become: everything of it.
const MOST_OF_ONE: usize = 1_024;
/// Most keys and prefixes altogether. More become: everything.
const MOST: usize = 8_192;

/// Something that was changed here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// Set or deleted.
    Key(String),
    /// What begins so was deleted.
    Prefix(String),
}

/// See the module.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Pending {
    /// There was no room for it: nobody knows what it was.
    all: bool,
    scopes: BTreeMap<ScopeName, Changes>,
    count: usize,
}

/// Of one owner. A key is said once, however often it was changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) keys: BTreeSet<String>,
    pub(crate) prefixes: BTreeSet<String>,
}

impl Changes {
    fn len(&self) -> usize {
        self.keys.len() + self.prefixes.len()
    }

    fn everything() -> Self {
        Self { keys: BTreeSet::new(), prefixes: BTreeSet::from([String::new()]) }
    }

    fn add(&mut self, change: Change) {
        match change {
            Change::Key(key) => self.keys.insert(key),
            Change::Prefix(prefix) => self.prefixes.insert(prefix),
        };
        if self.prefixes.contains("") || self.len() > MOST_OF_ONE {
            *self = Self::everything();
        }
    }
}

/// What is to be told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Told<'a> {
    Everything,
    Changes(&'a BTreeMap<ScopeName, Changes>),
}

impl Pending {
    pub(crate) fn is_empty(&self) -> bool {
        !self.all && self.scopes.is_empty()
    }

    pub(crate) fn add(&mut self, scope: &ScopeName, change: Change) {
        if self.all {
            return;
        }
        let before = self.scopes.get(scope).map_or(0, Changes::len);
        let changes = self.scopes.entry(scope.clone()).or_default();
        changes.add(change);
        self.count = self.count + changes.len() - before;
        if self.count > MOST {
            *self = Self { all: true, ..Self::default() };
        }
    }

    /// What was taken could not be told.
    pub(crate) fn put_back(&mut self, taken: Self) {
        if taken.all {
            *self = taken;
            return;
        }
        for (scope, changes) in taken.scopes {
            let keys = changes.keys.into_iter().map(Change::Key);
            for change in keys.chain(changes.prefixes.into_iter().map(Change::Prefix)) {
                self.add(&scope, change);
            }
        }
    }

    pub(crate) fn told(&self) -> Told<'_> {
        match self.all {
            true => Told::Everything,
            false => Told::Changes(&self.scopes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(name: &str) -> ScopeName {
        name.parse().unwrap()
    }

    fn of<'a>(pending: &'a Pending, name: &str) -> &'a Changes {
        match pending.told() {
            Told::Changes(scopes) => &scopes[&scope(name)],
            Told::Everything => panic!("not everything"),
        }
    }

    fn fill(pending: &mut Pending, name: &str, count: usize) {
        (0..count).for_each(|number| pending.add(&scope(name), Change::Key(format!("key-{number}"))));
    }

    #[test]
    fn a_key_is_told_once_and_not_together_with_everything() {
        let mut pending = Pending::default();
        assert!(pending.is_empty());
        for change in [Change::Key("k".into()), Change::Key("k".into()), Change::Prefix("p".into())] {
            pending.add(&scope("a"), change);
        }
        assert_eq!((of(&pending, "a").keys.len(), pending.count), (1, 2));
        pending.add(&scope("a"), Change::Prefix(String::new()));
        pending.add(&scope("a"), Change::Key("other".into()));
        assert_eq!((of(&pending, "a"), pending.count), (&Changes::everything(), 1));
    }

    #[test]
    fn what_there_is_no_room_for_becomes_more() {
        let mut pending = Pending::default();
        fill(&mut pending, "a", MOST_OF_ONE);
        assert_eq!(of(&pending, "a").keys.len(), MOST_OF_ONE);
        fill(&mut pending, "a", MOST_OF_ONE + 1);
        fill(&mut pending, "b", 1);
        assert_eq!((of(&pending, "a"), of(&pending, "b").keys.len(), pending.count), (&Changes::everything(), 1, 2));
        for number in 0..9 {
            fill(&mut pending, &format!("c{number}"), MOST_OF_ONE);
        }
        assert_eq!(pending, Pending { all: true, ..Pending::default() });
        fill(&mut pending, "a", 1);
        assert!(pending.scopes.is_empty() && !pending.is_empty());
    }

    #[test]
    fn what_could_not_be_told_is_told_with_what_came_since() {
        let (mut taken, mut since) = (Pending::default(), Pending::default());
        fill(&mut taken, "a", 2);
        taken.add(&scope("b"), Change::Prefix("p".into()));
        since.add(&scope("a"), Change::Key("new".into()));
        since.put_back(taken);
        assert_eq!((of(&since, "a").keys.len(), of(&since, "b").prefixes.len(), since.count), (3, 1, 4));
        since.put_back(Pending { all: true, ..Pending::default() });
        assert_eq!(since.told(), Told::Everything);
    }
}
