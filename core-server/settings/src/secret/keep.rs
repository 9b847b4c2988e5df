//! What a user left blank stays as it is stored.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::is_blank;
use crate::annotation::SECRET;
use crate::description::Description;
use crate::path::ValuePath;

/// Fields that tell an element of a list from others, the better one first.
const IDENTITIES: [&str; 2] = ["id", "name"];
/// How many pairs of elements of lists are looked at one by one: all further secrets must be entered again.
const MAX_COMPARISONS: usize = 10_000;

/// A blank secret could stand for any of several.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` is blank, and its entry is not clearly one of those that are stored: enter the secret again, or send null for none")]
pub struct KeepError {
    /// Of the blank secret.
    pub path: ValuePath,
}

/// Puts stored secrets where `new` has blank ones. See [`SecretFields::update`](super::SecretFields::update).
pub(super) fn keep_blank(schema: &Value, new: Value, stored: &Value) -> Result<Value, KeepError> {
    keep(&Description::of(schema), new, stored, &ValuePath::root(), &Cell::new(MAX_COMPARISONS))
}

fn keep(
    description: &Description<'_>,
    new: Value,
    stored: &Value,
    path: &ValuePath,
    comparisons: &Cell<usize>,
) -> Result<Value, KeepError> {
    if description.is_marked(SECRET) {
        return keep_secret(new, stored, path);
    }
    match (new, stored) {
        (Value::Object(new), Value::Object(stored)) => keep_fields(description, new, stored, path, comparisons).map(Value::Object),
        (Value::Array(new), Value::Array(stored)) => keep_elements(description, new, stored, path, comparisons).map(Value::Array),
        (new, _) => Ok(new),
    }
}

/// A blank one, or one whose parts are.
fn keep_secret(new: Value, stored: &Value, path: &ValuePath) -> Result<Value, KeepError> {
    match (new, stored) {
        (Value::String(text), stored) if is_blank(&text) && !is_none(stored) => Ok(stored.clone()),
        (Value::Object(new), Value::Object(stored)) => {
            let kept = new.into_iter().map(|(name, value)| {
                let kept = keep_secret(value, stored.get(&name).unwrap_or(&Value::Null), &path.then(name.as_str()))?;
                Ok((name, kept))
            });
            kept.collect::<Result<_, _>>().map(Value::Object)
        }
        (Value::Array(new), Value::Array(stored)) if new.len() == stored.len() => {
            let pairs = new.into_iter().zip(stored).enumerate();
            pairs.map(|(index, (new, stored))| keep_secret(new, stored, &path.then(index))).collect::<Result<_, _>>().map(Value::Array)
        }
        (Value::Array(new), Value::Array(stored)) if stored.iter().any(|stored| !is_none(stored)) => {
            match new.iter().position(|new| new.as_str().is_some_and(is_blank)) {
                Some(blank) => Err(KeepError { path: path.then(blank) }),
                None => Ok(Value::Array(new)),
            }
        }
        (new, _) => Ok(new),
    }
}

/// Whether no secret is stored.
fn is_none(stored: &Value) -> bool {
    stored.is_null() || stored.as_str().is_some_and(is_blank)
}

fn keep_fields(
    description: &Description<'_>,
    mut new: Map<String, Value>,
    stored: &Map<String, Value>,
    path: &ValuePath,
    comparisons: &Cell<usize>,
) -> Result<Map<String, Value>, KeepError> {
    if is_other_alternative(description, &new, stored) {
        return Ok(new);
    }
    for (name, stored) in stored {
        let field = description.field(name);
        match new.get_mut(name) {
            Some(value) => *value = keep(&field.description, value.take(), stored, &path.then(name.as_str()), comparisons)?,
            None if field.is_property && field.description.is_marked(SECRET) && !is_none(stored) => {
                new.insert(name.clone(), stored.clone());
            }
            None => {}
        }
    }
    Ok(new)
}

/// Whether a field that alternatives fix has another value now: a stored password is not one for another kind of login.
fn is_other_alternative(description: &Description<'_>, new: &Map<String, Value>, stored: &Map<String, Value>) -> bool {
    let only = |schema: &Value, value: &Value| match (schema.get("const"), schema.get("enum").and_then(Value::as_array)) {
        (Some(only), _) => only == value,
        (None, Some(values)) => values.as_slice() == [value.clone()],
        (None, None) => false,
    };
    description.properties().any(|(name, schema)| match (new.get(name), stored.get(name)) {
        (Some(new), Some(stored)) => new != stored && (only(schema, new) || only(schema, stored)),
        _ => false,
    })
}

/// Finds out which elements belong together, and keeps within those.
fn keep_elements(
    description: &Description<'_>,
    new: Vec<Value>,
    stored: &[Value],
    path: &ValuePath,
    comparisons: &Cell<usize>,
) -> Result<Vec<Value>, KeepError> {
    let would_keep =
        |index: usize, element: &Value, from: &Value| kept_from(&description.element(index), element, from, &path.then(index), comparisons);
    let pairs = pair(description, &new, stored, |index, from| {
        let (new, stored) = (new.get(index).unwrap_or(&Value::Null), stored.get(from).unwrap_or(&Value::Null));
        would_keep(index, new, stored).is_some()
    });
    let paired: BTreeSet<usize> = pairs.values().copied().collect();
    let left =
        stored.iter().enumerate().filter(|(index, element)| !paired.contains(index) && has_secret(&description.element(*index), element));
    let left: Vec<&Value> = left.map(|(_, element)| element).collect();
    let kept = new.into_iter().enumerate().map(|(index, element)| match pairs.get(&index).and_then(|pair| stored.get(*pair)) {
        Some(stored) => keep(&description.element(index), element, stored, &path.then(index), comparisons),
        None => match left.iter().find_map(|stored| would_keep(index, &element, stored)) {
            Some(path) => Err(KeepError { path }),
            None => Ok(element),
        },
    });
    kept.collect()
}

fn has_secret(description: &Description<'_>, stored: &Value) -> bool {
    let mut places = Vec::new();
    super::find(description, stored, ValuePath::root(), false, &mut places);
    places.iter().filter_map(|place| place.path.find(stored)).any(|secret| !is_none(secret))
}

/// The first secret that an element would get from a stored one. When too much was compared, it could be any.
fn kept_from(description: &Description<'_>, new: &Value, stored: &Value, path: &ValuePath, comparisons: &Cell<usize>) -> Option<ValuePath> {
    let Some(left) = comparisons.get().checked_sub(1) else { return Some(path.clone()) };
    comparisons.set(left);
    match keep(description, new.clone(), stored, path, comparisons) {
        Ok(kept) => first_difference(&kept, new, path),
        Err(KeepError { path }) => Some(path),
    }
}

fn first_difference(one: &Value, other: &Value, path: &ValuePath) -> Option<ValuePath> {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => one.iter().find_map(|(name, value)| {
            let path = path.then(name.as_str());
            other.get(name).map_or_else(|| Some(path.clone()), |other| first_difference(value, other, &path))
        }),
        (Value::Array(one), Value::Array(other)) => {
            one.iter().zip(other).enumerate().find_map(|(index, (one, other))| first_difference(one, other, &path.then(index)))
        }
        _ => (one != other).then(|| path.clone()),
    }
}

/// Which stored element belongs to which new one. `is_blank` says whether a new one would keep something of a stored one.
fn pair(description: &Description<'_>, new: &[Value], stored: &[Value], is_blank: impl Fn(usize, usize) -> bool) -> BTreeMap<usize, usize> {
    let shown = |elements: &[Value]| -> Vec<Value> {
        let shown = elements.iter().enumerate();
        shown.map(|(index, element)| without_secrets(&description.element(index), element).unwrap_or_default()).collect()
    };
    let (new, stored) = (shown(new), shown(stored));
    let mut pairs = BTreeMap::new();
    // All but the secrets is the same. In order, when as many are there as were, or as many are blank as were.
    for (mut news, olds) in groups(&new, &stored, |content| Some(content.to_string())) {
        if news.len() != olds.len() {
            news.retain(|new| olds.iter().any(|old| is_blank(*new, *old)));
        }
        if news.len() == olds.len() {
            pairs.extend(news.into_iter().zip(olds));
        }
    }
    // The one with the same identity, if there is only one.
    for identity in IDENTITIES {
        let named = |content: &Value| content.get(identity).filter(|it| it.is_string() || it.is_number()).map(Value::to_string);
        let paired: BTreeSet<usize> = pairs.values().copied().collect();
        for group in groups(&new, &stored, named) {
            if let ([new], [old]) = (group.0.as_slice(), group.1.as_slice())
                && !paired.contains(old)
            {
                pairs.entry(*new).or_insert(*old);
            }
        }
    }
    pairs
}

/// New and stored elements that have the same key; by their places.
fn groups(new: &[Value], stored: &[Value], key: impl Fn(&Value) -> Option<String>) -> impl Iterator<Item = (Vec<usize>, Vec<usize>)> {
    let mut groups: BTreeMap<String, (Vec<usize>, Vec<usize>)> = BTreeMap::new();
    for (index, key) in new.iter().enumerate().filter_map(|(index, element)| Some((index, key(element)?))) {
        groups.entry(key).or_default().0.push(index);
    }
    for (index, key) in stored.iter().enumerate().filter_map(|(index, element)| Some((index, key(element)?))) {
        groups.entry(key).or_default().1.push(index);
    }
    groups.into_values()
}

/// Nothing for a secret.
fn without_secrets(description: &Description<'_>, value: &Value) -> Option<Value> {
    if description.is_marked(SECRET) {
        return None;
    }
    match value {
        Value::Object(fields) => {
            let shown = fields.iter();
            let shown =
                shown.filter_map(|(name, value)| Some((name.clone(), without_secrets(&description.field(name).description, value)?)));
            Some(Value::Object(shown.collect()))
        }
        Value::Array(elements) => {
            let shown = elements.iter().enumerate();
            let shown = shown.map(|(index, element)| without_secrets(&description.element(index), element).unwrap_or_default());
            Some(Value::Array(shown.collect()))
        }
        _ => Some(value.clone()),
    }
}

#[cfg(test)]
mod tests;
