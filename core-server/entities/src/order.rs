//! Where a change stands among those of its entity.

use jiff::Timestamp;

/// Of a change, see [`crate::EntityChanged::position`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// 1, 2, 3 and so on
    pub sequence: u64,
    /// Never goes back for one entity.
    pub occurred_at: Timestamp,
}

/// How a change goes with the newest one that a listener has heard of the same entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Nothing was heard before.
    First,
    /// Nothing is missing.
    Next,
    /// So many changes are missing: they come later (in a work queue), or were missed.
    Gap(u64),
    /// It was heard before, or a newer one was.
    Old,
    /// The platform had forgotten the entity, as it does with those that were removed long ago, and counts anew.
    Anew,
}

impl Position {
    /// `last` is the newest that was heard.
    #[must_use]
    pub fn order_after(self, last: Option<Self>) -> Order {
        let Some(last) = last else { return Order::First };
        match self.sequence.checked_sub(last.sequence) {
            Some(1) => Order::Next,
            Some(steps) if steps > 1 => Order::Gap(steps - 1),
            _ if self.occurred_at > last.occurred_at => Order::Anew,
            _ => Order::Old,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(sequence: u64, second: i64) -> Position {
        Position { sequence, occurred_at: Timestamp::from_second(second).unwrap() }
    }

    #[test]
    fn a_listener_can_tell_what_is_old_and_what_is_missing() {
        assert_eq!(at(7, 7).order_after(None), Order::First);
        assert_eq!(at(8, 7).order_after(Some(at(7, 7))), Order::Next);
        assert_eq!(at(11, 9).order_after(Some(at(7, 7))), Order::Gap(3));
        assert_eq!(at(7, 7).order_after(Some(at(7, 7))), Order::Old);
        assert_eq!(at(3, 3).order_after(Some(at(7, 7))), Order::Old);
        assert_eq!(at(1, 9).order_after(Some(at(7, 7))), Order::Anew);
    }

    proptest! {
        /// Whatever is repeated, left out or exchanged.
        #[test]
        fn who_takes_all_but_old_ones_knows_how_many_are_missing(heard in prop::collection::vec(1..40u64, 1..60)) {
            let (mut last, mut known, mut missing) = (None, 0, 0);
            for sequence in heard {
                let position = at(sequence, i64::try_from(sequence).unwrap());
                match position.order_after(last) {
                    Order::First => missing += sequence - 1,
                    Order::Next => {}
                    Order::Gap(steps) => missing += steps,
                    Order::Old => continue,
                    Order::Anew => prop_assert!(false, "nothing was forgotten"),
                }
                known += 1;
                last = Some(position);
                prop_assert_eq!(known + missing, sequence);
            }
        }
    }
}
