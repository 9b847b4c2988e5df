//! Which kinds there are, whose they are, and who derives events from their changes. Pure: what reads and derives is whatever its owner puts
//! in.

use std::collections::BTreeMap;

use checkstack_events::Subscriber;

use crate::error::EntityError;
use crate::name::check_kind;

/// See the module.
#[derive(Debug)]
pub(crate) struct Registry<Kind, Deriver> {
    /// No others are declared from now on.
    complete: bool,
    kinds: BTreeMap<&'static str, Entry<Kind, Deriver>>,
}

#[derive(Debug)]
pub(crate) struct Entry<Kind, Deriver> {
    pub(crate) owner: Subscriber,
    pub(crate) kind: Kind,
    /// And whose events they are.
    pub(crate) deriver: Option<(Subscriber, Deriver)>,
}

impl<Kind, Deriver> Default for Registry<Kind, Deriver> {
    fn default() -> Self {
        Self { complete: false, kinds: BTreeMap::new() }
    }
}

impl<Kind, Deriver> Registry<Kind, Deriver> {
    pub(crate) fn define(&mut self, owner: &Subscriber, name: &'static str, kind: Kind) -> Result<(), EntityError> {
        check_kind(name)?;
        if let Some(entry) = self.kinds.get(name) {
            let [owner, plugin] = [&entry.owner, owner].map(Subscriber::to_string);
            return Err(EntityError::DuplicateKind { kind: name.to_owned(), owner, plugin });
        }
        if self.complete {
            return Err(EntityError::DeclaredTooLate { kind: name.to_owned(), plugin: owner.to_string() });
        }
        self.kinds.insert(name, Entry { owner: owner.clone(), kind, deriver: None });
        Ok(())
    }

    pub(crate) fn end_declarations(&mut self) {
        self.complete = true;
    }

    pub(crate) fn derive_by(&mut self, plugin: &Subscriber, name: &str, deriver: Deriver) -> Result<(), EntityError> {
        let unknown = self.unknown(name);
        let entry = self.kinds.get_mut(name).ok_or(unknown)?;
        if let Some((owner, _)) = &entry.deriver {
            let [owner, plugin] = [owner, plugin].map(Subscriber::to_string);
            return Err(EntityError::DuplicateDeriver { kind: name.to_owned(), owner, plugin });
        }
        entry.deriver = Some((plugin.clone(), deriver));
        Ok(())
    }

    pub(crate) fn get(&self, name: &str) -> Result<&Entry<Kind, Deriver>, EntityError> {
        self.kinds.get(name).ok_or_else(|| self.unknown(name))
    }

    /// By their names.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'static str, &Entry<Kind, Deriver>)> {
        self.kinds.iter().map(|(name, entry)| (*name, entry))
    }

    fn unknown(&self, name: &str) -> EntityError {
        let known = self.kinds.keys().map(|kind| (*kind).to_owned()).collect();
        EntityError::UnknownKind { kind: name.chars().take(100).collect(), known }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(id: &str) -> Subscriber {
        id.parse().unwrap()
    }

    #[test]
    fn a_kind_belongs_to_the_plugin_that_has_defined_it() {
        let mut registry = Registry::<u8, u8>::default();
        registry.define(&plugin("healthcheck"), "health", 1).unwrap();
        for other in ["healthcheck", "mail"] {
            let refused = registry.define(&plugin(other), "health", 2).unwrap_err().to_string();
            let expected = format!(
                "plugin '{other}' cannot define the kind of entities 'health': plugin 'healthcheck' has defined it; take another name"
            );
            assert_eq!(refused, expected);
        }
        registry.end_declarations();
        let late = EntityError::DeclaredTooLate { kind: "slo".into(), plugin: "mail".into() };
        assert_eq!(registry.define(&plugin("mail"), "slo", 2), Err(late));
        assert_eq!(registry.get("health").unwrap().kind, 1);
        assert!(registry.define(&plugin("mail"), "Health", 2).is_err());
        assert_eq!(registry.all().count(), 1);
    }

    #[test]
    fn who_asks_for_an_unknown_kind_is_told_which_there_are() {
        let mut registry = Registry::<u8, u8>::default();
        assert_eq!(registry.get("slo").unwrap_err().to_string(), "there is no kind of entities 'slo'; there are: none");
        for kind in ["incident", "health"] {
            registry.define(&plugin("a"), kind, 1).unwrap();
        }
        let known = vec!["health".to_owned(), "incident".to_owned()];
        let unknown = EntityError::UnknownKind { kind: "slo".into(), known };
        assert_eq!(registry.get("slo").unwrap_err(), unknown);
        assert_eq!(registry.derive_by(&plugin("a"), "slo", 1), Err(unknown));
    }

    #[test]
    fn changes_of_a_kind_are_derived_by_one_plugin() {
        let mut registry = Registry::<u8, u8>::default();
        registry.define(&plugin("a"), "health", 1).unwrap();
        registry.derive_by(&plugin("b"), "health", 7).unwrap();
        let refused = registry.derive_by(&plugin("a"), "health", 8).unwrap_err();
        assert_eq!(refused, EntityError::DuplicateDeriver { kind: "health".into(), owner: "b".into(), plugin: "a".into() });
        assert_eq!(registry.get("health").unwrap().deriver, Some((plugin("b"), 7)));
    }
}
