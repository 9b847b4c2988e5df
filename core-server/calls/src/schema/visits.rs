//! How often a value and what is in it are looked at when it is checked against a schema.
//!
//! A check goes to every part of the schema that describes a value, and from there into the value. Where several parts describe the same,
//! and each of them leads back to where it came from, the number of visits doubles with each level of the value. So it is counted here
//! before, from above: for a value at a depth, as if at each level the most expensive field were there, and nothing were decided early.
//! Every schema that is accepted therefore has a known limit for every value, and plugins can bring no schema that never ends.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use super::parts::{Parts, Step};
use super::{InvalidSchema, patterns};

/// How often the parts of a schema may look at one and the same value, without a step into it.
const MAX_FORMS: u64 = 1000;
/// How many of them may each refer to the next.
const MAX_CHAIN: usize = 64;
/// How deep values are that a schema has to be able to check in any case,
const SURE_DEPTH: usize = 16;
/// and how often it may look at what is there.
const MAX_SURE_VISITS: u64 = 100_000;
/// How many parts may be looked at within each other: each takes some of the stack.
const MAX_STACK: usize = 1000;
/// How deep values can be at all: JSON that is deeper is not read.
const MAX_DEPTH: usize = 128;
/// Ways from one part to others, all together.
const MAX_WAYS: usize = 200_000;
/// Visits in the check of one value, about a second.
const MAX_VISITS: u64 = 20_000_000;
/// Visits in the search for what is wrong with one value. Each may find something, and keeps it.
const MAX_TELLING_VISITS: u64 = 20_000;

/// What may be done with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Permitted {
    /// It can be checked.
    pub(super) check: bool,
    /// All that is wrong with it can be found.
    pub(super) tell: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Visits {
    /// By the depth of what is looked at.
    by_depth: Vec<Level>,
    /// What a byte of text costs in sixteenths of a visit.
    per_byte: u64,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Level {
    /// Of one value there, while the whole is checked,
    pub(super) checking: u64,
    /// and while all that is wrong with it is found.
    pub(super) telling: u64,
    /// Parts within each other.
    stack: usize,
}

impl Visits {
    pub(super) fn of(schema: &Value) -> Result<Self, InvalidSchema> {
        let parts = Parts::read(schema)?;
        let closures = closures(&parts)?;
        let by_depth = levels(&closures);
        let sure = by_depth.iter().take(SURE_DEPTH + 1);
        let (has_many, is_high) = sure.fold((false, false), |(has_many, is_high), level| {
            (has_many || level.checking > MAX_SURE_VISITS, is_high || level.stack > MAX_STACK)
        });
        if has_many || is_high {
            let (part, step) = most_expensive(&closures, has_many);
            return Err(InvalidSchema::Growing { place: parts.place(part), step });
        }
        Ok(Self { by_depth, per_byte: patterns::cost_per_byte(schema) })
    }

    /// What may be done with this value.
    pub(super) fn permit(&self, value: &Value) -> Permitted {
        let mut count = Count { visits: self, checking: 0, telling: 0, stack: 0 };
        count.add(value, 0);
        Permitted {
            check: count.checking <= MAX_VISITS && count.stack <= MAX_STACK,
            tell: count.telling <= MAX_TELLING_VISITS && count.stack <= MAX_STACK,
        }
    }

    fn at(&self, depth: usize) -> Level {
        self.by_depth.get(depth.min(MAX_DEPTH)).copied().unwrap_or_default()
    }

    #[cfg(test)]
    pub(super) fn counted(&self, value: &Value) -> Level {
        let mut count = Count { visits: self, checking: 0, telling: 0, stack: 0 };
        count.add(value, 0);
        Level { checking: count.checking, telling: count.telling, stack: count.stack }
    }
}

/// Of one value, and all that is in it.
struct Count<'a> {
    visits: &'a Visits,
    checking: u64,
    telling: u64,
    stack: usize,
}

impl Count<'_> {
    fn add(&mut self, value: &Value, depth: usize) {
        let level = self.visits.at(depth);
        let text = |text: &str| (u64::try_from(text.len()).unwrap_or(u64::MAX)).saturating_mul(self.visits.per_byte) / 16;
        let weight = match value {
            Value::String(string) => 1 + text(string),
            Value::Object(fields) => fields.keys().fold(1, |sum: u64, name| sum.saturating_add(text(name))),
            _ => 1,
        };
        self.checking = self.checking.saturating_add(level.checking.saturating_mul(weight));
        self.telling = self.telling.saturating_add(level.telling.saturating_mul(weight));
        self.stack = self.stack.max(level.stack);
        // It is too much already.
        if self.checking > MAX_VISITS {
            return;
        }
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.add(item, depth + 1)),
            Value::Object(fields) => fields.values().for_each(|field| self.add(field, depth + 1)),
            _ => {}
        }
    }
}

/// All parts that look at a value because one does, and where they go from there.
#[derive(Default)]
struct Closure {
    /// By how many visits.
    checking: u64,
    telling: u64,
    chain: usize,
    /// Ways that can be gone with one and the same step; what is most expensive counts.
    ways: Vec<(String, Vec<Way>)>,
}

/// To a part of what is in the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Way {
    to: usize,
    seen: Seen,
}

/// How often a part looks at a value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Seen {
    /// While that is checked.
    checked: u64,
    /// While all is found that is wrong with it: to check it,
    checked_to_tell: u64,
    /// and to find that.
    told: u64,
}

/// What is done with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Check,
    /// To find out what has been described.
    Mark,
    Tell,
}

/// Those of the schema, and of each part that a step leads to.
fn closures(parts: &Parts<'_>) -> Result<HashMap<usize, Closure>, InvalidSchema> {
    let mut closures = HashMap::new();
    let mut pending = vec![0];
    let mut ways = 0;
    while let Some(index) = pending.pop() {
        if closures.contains_key(&index) {
            continue;
        }
        let closure = closure(parts, index, MAX_WAYS - ways)?;
        ways += closure.ways.iter().map(|(_, ways)| ways.len()).sum::<usize>();
        pending.extend(closure.ways.iter().flat_map(|(_, ways)| ways).map(|way| way.to));
        closures.insert(index, closure);
    }
    Ok(closures)
}

fn closure(parts: &Parts<'_>, index: usize, most_ways: usize) -> Result<Closure, InvalidSchema> {
    let mut seen: BTreeMap<usize, Seen> = BTreeMap::new();
    let mut chain = 0;
    let checked = forms(parts, index, Mode::Check, MAX_FORMS, |part, _, depth| {
        seen.entry(part).or_default().checked += 1;
        chain = chain.max(depth);
    });
    match checked {
        Forms::All => {}
        Forms::TooMany => return Err(InvalidSchema::TooManyForms { place: parts.place(index), most: MAX_FORMS }),
        Forms::TooLong => return Err(InvalidSchema::Endless { place: parts.place(index), most: MAX_CHAIN }),
    }
    let told = forms(parts, index, Mode::Tell, MAX_FORMS * 10, |part, mode, _| {
        let seen = seen.entry(part).or_default();
        match mode {
            Mode::Tell => seen.told += 1,
            Mode::Check | Mode::Mark => seen.checked_to_tell += 1,
        }
    });
    let weighed = |visits: fn(&Seen) -> u64| {
        seen.iter().fold(0_u64, |sum, (part, seen)| {
            let weight = parts.get(*part).map_or(1, |part| part.weight);
            sum.saturating_add(visits(seen).saturating_mul(weight))
        })
    };
    let telling = match told {
        Forms::All => weighed(|seen| seen.told + seen.checked_to_tell),
        Forms::TooMany | Forms::TooLong => u64::MAX,
    };
    let ways = ways(parts, &seen, most_ways).ok_or(InvalidSchema::TooManyWays(MAX_WAYS))?;
    Ok(Closure { checking: weighed(|seen| seen.checked), telling, chain, ways })
}

enum Forms {
    All,
    TooMany,
    TooLong,
}

/// Goes to all parts that look at a value because one does, as often as they do.
fn forms(parts: &Parts<'_>, index: usize, mode: Mode, most: u64, mut visit: impl FnMut(usize, Mode, usize)) -> Forms {
    let mut pending = vec![(index, mode, 1)];
    let mut count = 0;
    while let Some((index, mode, depth)) = pending.pop() {
        count += 1;
        if count > most {
            return Forms::TooMany;
        }
        if depth > MAX_CHAIN {
            return Forms::TooLong;
        }
        visit(index, mode, depth);
        let Some(part) = parts.get(index) else { continue };
        for same in &part.same {
            pending.push((*same, Mode::Check, depth + 1));
            if mode != Mode::Check {
                pending.push((*same, mode, depth + 1));
            }
        }
        if part.is_about_the_rest && mode != Mode::Mark {
            pending.extend(part.same.iter().map(|same| (*same, Mode::Mark, depth + 1)));
        }
    }
    Forms::All
}

/// Where these parts go, by the step. None: there are more than `most` ways.
fn ways(parts: &Parts<'_>, seen: &BTreeMap<usize, Seen>, most: usize) -> Option<Vec<(String, Vec<Way>)>> {
    let mut by_step: BTreeMap<Step<'_>, Vec<(usize, Way)>> = BTreeMap::from([(Step::OtherField, Vec::new())]);
    for (index, seen) in seen {
        for (step, to) in parts.get(*index).into_iter().flat_map(|part| &part.steps) {
            by_step.entry(*step).or_default().push((*index, Way { to: *to, seen: *seen }));
        }
    }
    let is_wide = |step: &Step<'_>| matches!(step, Step::AnyField | Step::OtherField | Step::LaterItem(_));
    let wide: Vec<_> = by_step.iter().filter(|(step, _)| is_wide(step)).collect();
    let mut ways = Vec::new();
    let mut count = 0;
    for (wanted, own) in by_step.iter().filter(|(step, _)| **step != Step::AnyField) {
        let naming: BTreeSet<usize> = own.iter().map(|(part, _)| *part).collect();
        let naming = &naming;
        let others = wide.iter().filter(|(step, _)| *step != wanted).flat_map(|(step, ways)| {
            let fits = move |part: &usize| match (wanted, step) {
                (Step::Field(_) | Step::OtherField, Step::AnyField) => true,
                (Step::Field(_), Step::OtherField) => !naming.contains(part),
                (Step::Item(number) | Step::LaterItem(number), Step::LaterItem(from)) => from <= number,
                _ => false,
            };
            ways.iter().filter(move |(part, _)| fits(part))
        });
        let there: Vec<Way> = own.iter().chain(others).map(|(_, way)| *way).collect();
        count += there.len();
        if count > most {
            return None;
        }
        if !there.is_empty() {
            ways.push((shown(*wanted), there));
        }
    }
    Some(ways)
}

fn shown(step: Step<'_>) -> String {
    match step {
        Step::Field(name) => format!("field '{}'", name.chars().take(100).collect::<String>()),
        Step::AnyField | Step::OtherField => "any field".to_owned(),
        Step::Item(number) => format!("item {number}"),
        Step::LaterItem(_) => "items".to_owned(),
    }
}

/// By depth, for the schema as a whole.
fn levels(closures: &HashMap<usize, Closure>) -> Vec<Level> {
    let begin = |closure: &Closure| Level { checking: closure.checking, telling: closure.telling, stack: closure.chain };
    let mut here: HashMap<usize, Level> = closures.iter().map(|(index, closure)| (*index, begin(closure))).collect();
    let root = |levels: &HashMap<usize, Level>| levels.get(&0).copied().unwrap_or_default();
    let mut by_depth = vec![root(&here)];
    while by_depth.len() <= MAX_DEPTH {
        let level = |closure: &Closure| {
            let mut level = Level::default();
            for (_, ways) in &closure.ways {
                let (checking, telling, stack) = along(ways, &here);
                level.checking = level.checking.max(checking);
                level.telling = level.telling.max(telling);
                level.stack = level.stack.max(stack.saturating_add(closure.chain));
            }
            level
        };
        here = closures.iter().map(|(index, closure)| (*index, level(closure))).collect();
        by_depth.push(root(&here));
    }
    by_depth
}

fn along(ways: &[Way], levels: &HashMap<usize, Level>) -> (u64, u64, usize) {
    let (mut checking, mut telling, mut stack) = (0_u64, 0_u64, 0);
    for Way { to, seen } in ways {
        let level = levels.get(to).copied().unwrap_or_default();
        checking = checking.saturating_add(level.checking.saturating_mul(seen.checked));
        // Who tells what is wrong with a field has often checked it before.
        let checked = seen.checked_to_tell.saturating_add(seen.told);
        telling = telling.saturating_add(level.telling.saturating_mul(seen.told)).saturating_add(level.checking.saturating_mul(checked));
        stack = stack.max(level.stack);
    }
    (checking, telling, stack)
}

/// The part, and the step from it, by which there are too many visits, or parts within each other.
fn most_expensive(closures: &HashMap<usize, Closure>, by_visits: bool) -> (usize, String) {
    let leads_on = |way: &&Way| closures.get(&way.to).is_some_and(|closure| !closure.ways.is_empty());
    let spread = |ways: &[Way]| ways.iter().filter(leads_on).map(|way| way.seen.checked).sum::<u64>();
    let all = closures.iter().flat_map(|(index, closure)| closure.ways.iter().map(move |(step, ways)| (*index, closure, step, ways)));
    let cost = |closure: &Closure, ways: &[Way]| if by_visits { spread(ways) } else { closure.chain as u64 };
    let most = all.max_by_key(|(index, closure, _, ways)| (cost(closure, ways), std::cmp::Reverse(*index)));
    most.map_or((0, String::new()), |(index, _, step, _)| (index, step.clone()))
}

#[cfg(test)]
mod tests;
