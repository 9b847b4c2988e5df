//! How many sockets there may be, of all and of each who opens them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bounds of [`Places`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlacesLimits {
    /// Sockets altogether.
    pub all: usize,
    /// Those of one holder.
    pub of_one: usize,
    /// Those of nobody in particular, so that strangers leave room for the others.
    pub of_nobody: usize,
}

/// There is no room for another socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// For nobody.
    #[error("the server has too many open sockets at the moment")]
    All,
    /// For this holder.
    #[error("there are too many open sockets for the same user or plugin")]
    OfOne,
}

/// The places there are. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Places {
    limits: PlacesLimits,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    of_nobody: usize,
    holders: HashMap<Arc<str>, usize>,
}

/// One place, until it is dropped.
#[derive(Debug)]
pub struct Place {
    holder: Option<Arc<str>>,
    taken: Arc<Mutex<Taken>>,
}

impl Places {
    /// All free.
    pub fn new(limits: PlacesLimits) -> Self {
        Self { limits, taken: Arc::default() }
    }

    /// Takes a place for one holder, or for nobody in particular.
    ///
    /// # Errors
    /// When there is none.
    pub fn enter(&self, holder: Option<&str>) -> Result<Place, Full> {
        let mut taken = lock(&self.taken);
        if taken.all >= self.limits.all {
            return Err(Full::All);
        }
        let holder: Option<Arc<str>> = holder.map(Arc::from);
        match &holder {
            None if taken.of_nobody >= self.limits.of_nobody => return Err(Full::All),
            None => taken.of_nobody += 1,
            Some(holder) => {
                let held = taken.holders.get(holder).copied().unwrap_or_default();
                if held >= self.limits.of_one {
                    return Err(Full::OfOne);
                }
                taken.holders.insert(holder.clone(), held + 1);
            }
        }
        taken.all += 1;
        Ok(Place { holder, taken: self.taken.clone() })
    }

    /// Places that are taken.
    pub fn taken(&self) -> usize {
        lock(&self.taken).all
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        taken.all = taken.all.saturating_sub(1);
        match &self.holder {
            None => taken.of_nobody = taken.of_nobody.saturating_sub(1),
            Some(holder) => match taken.holders.get_mut(holder) {
                Some(held) if *held > 1 => *held -= 1,
                _ => drop(taken.holders.remove(holder)),
            },
        }
    }
}

fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: PlacesLimits = PlacesLimits { all: 4, of_one: 2, of_nobody: 1 };

    #[test]
    fn neither_one_holder_nor_strangers_take_the_places_of_all() {
        let places = Places::new(LIMITS);
        let ada = [places.enter(Some("ada")).unwrap(), places.enter(Some("ada")).unwrap()];
        assert_eq!(places.enter(Some("ada")).err(), Some(Full::OfOne));
        let stranger = places.enter(None).unwrap();
        assert_eq!(places.enter(None).err(), Some(Full::All));
        let _bob = places.enter(Some("bob")).unwrap();
        assert_eq!(places.enter(Some("cid")).err(), Some(Full::All));
        drop((ada, stranger));
        assert!(places.enter(None).is_ok() && places.enter(Some("ada")).is_ok());
        assert_eq!(places.taken(), 1);
    }

    proptest! {
        #[test]
        fn every_place_comes_back(steps in proptest::collection::vec((0..4_u8, any::<bool>()), 0..60)) {
            let places = Places::new(LIMITS);
            let mut held: Vec<(Option<String>, Place)> = Vec::new();
            for (who, leaves) in steps {
                let holder = (who > 0).then(|| who.to_string());
                let own = held.iter().filter(|(other, _)| *other == holder).count();
                if leaves {
                    if let Some(place) = held.iter().position(|(other, _)| *other == holder) {
                        held.swap_remove(place);
                    }
                } else {
                    let most = if holder.is_some() { LIMITS.of_one } else { LIMITS.of_nobody };
                    let place = places.enter(holder.as_deref());
                    prop_assert_eq!(place.is_ok(), held.len() < LIMITS.all && own < most);
                    held.extend(place.ok().map(|place| (holder, place)));
                }
                prop_assert_eq!(places.taken(), held.len());
            }
            held.clear();
            let taken = lock(&places.taken);
            prop_assert!(taken.all == 0 && taken.of_nobody == 0 && taken.holders.is_empty());
        }
    }
}
