//! Taking a JSON document apart, field by field, noting every problem on the way.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::MetadataProblem;
use super::rules::shown;

/// A JSON object and where it is in the document.
pub(super) struct Object<'a> {
    pub(super) path: String,
    pub(super) fields: &'a Map<String, Value>,
}

impl<'a> Object<'a> {
    pub(super) fn child(&self, key: &str) -> String {
        match self.path.is_empty() {
            true => key.to_owned(),
            false => format!("{}.{key}", self.path),
        }
    }

    /// `null` counts as absent.
    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.fields.get(key).filter(|value| !value.is_null())
    }

    pub(super) fn text(&self, key: &str, problems: &mut Problems) -> Option<String> {
        match self.get(key)? {
            Value::String(text) => Some(text.clone()),
            other => problems.note(self.child(key), format!("must be a string, not {}", kind(other))),
        }
    }

    pub(super) fn required_text(&self, key: &str, problems: &mut Problems) -> Option<String> {
        if self.get(key).is_none() {
            return problems.note(self.child(key), "is required");
        }
        let text = self.text(key, problems)?;
        match text.trim().is_empty() {
            true => problems.note(self.child(key), "must not be empty"),
            false => Some(text),
        }
    }

    pub(super) fn checked_text(&self, key: &str, problems: &mut Problems, check: fn(&str) -> Result<(), String>) -> Option<String> {
        let text = self.required_text(key, problems)?;
        match check(&text) {
            Ok(()) => Some(text),
            Err(rule) => problems.note(self.child(key), rule),
        }
    }

    pub(super) fn optional_text(&self, key: &str, problems: &mut Problems, check: fn(&str) -> Result<(), String>) -> Option<String> {
        self.get(key)?;
        self.checked_text(key, problems, check)
    }

    pub(super) fn flag(&self, key: &str, problems: &mut Problems) -> bool {
        match self.get(key) {
            None => false,
            Some(Value::Bool(flag)) => *flag,
            Some(other) => {
                let _: Option<()> = problems.note(self.child(key), format!("must be true or false, not {}", kind(other)));
                false
            }
        }
    }

    pub(super) fn list(&self, key: &str, problems: &mut Problems) -> Vec<(String, &'a Value)> {
        match self.get(key) {
            None => Vec::new(),
            Some(Value::Array(values)) => {
                values.iter().enumerate().map(|(index, value)| (format!("{}[{index}]", self.child(key)), value)).collect()
            }
            Some(other) => {
                let _: Option<()> = problems.note(self.child(key), format!("must be an array, not {}", kind(other)));
                Vec::new()
            }
        }
    }

    pub(super) fn object(&self, key: &str, problems: &mut Problems) -> Option<Object<'a>> {
        match self.get(key) {
            None => problems.note(self.child(key), "is required"),
            Some(Value::Object(fields)) => Some(Object { path: self.child(key), fields }),
            Some(other) => problems.note(self.child(key), format!("must be an object, not {}", kind(other))),
        }
    }

    pub(super) fn text_map(&self, key: &str, problems: &mut Problems) -> BTreeMap<String, String> {
        let Some(value) = self.get(key) else { return BTreeMap::new() };
        let Value::Object(fields) = value else {
            let _: Option<()> = problems.note(self.child(key), format!("must be an object, not {}", kind(value)));
            return BTreeMap::new();
        };
        let mut map = BTreeMap::new();
        for (name, value) in fields {
            match value {
                Value::String(text) => {
                    map.insert(name.clone(), text.clone());
                }
                other => {
                    let _: Option<()> = problems.note(entry_path(&self.child(key), name), format!("must be a string, not {}", kind(other)));
                }
            }
        }
        map
    }
}

#[derive(Default)]
pub(super) struct Problems(pub(super) Vec<MetadataProblem>);

impl Problems {
    /// Notes a problem and stands for the value that is missing because of it.
    pub(super) fn note<T>(&mut self, field: String, rule: impl Into<String>) -> Option<T> {
        self.0.push(MetadataProblem { field, rule: rule.into() });
        None
    }
}

pub(super) fn entry_path(map: &str, key: &str) -> String {
    format!("{map}[\"{}\"]", shown(key))
}

pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
