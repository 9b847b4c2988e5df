//! Where something is within a JSON value.

use std::fmt;

use checkstack_calls::schema::PathSegment;
use serde_json::Value;

/// Fields and indices that lead to a part of a value. Written `servers[0].password`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ValuePath(Vec<PathSegment>);

impl ValuePath {
    /// The whole value.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// A field of what this leads to, or an element by its index.
    #[must_use]
    pub fn then(&self, segment: impl Into<PathSegment>) -> Self {
        Self(self.0.iter().cloned().chain([segment.into()]).collect())
    }

    /// Step by step.
    #[must_use]
    pub fn segments(&self) -> &[PathSegment] {
        &self.0
    }

    /// What it leads to.
    #[must_use]
    pub fn find<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        self.0.iter().try_fold(value, |value, segment| match segment {
            PathSegment::Field(field) => value.get(field),
            PathSegment::Index(index) => value.get(index),
        })
    }

    /// What it leads to, to change it.
    pub fn find_mut<'a>(&self, value: &'a mut Value) -> Option<&'a mut Value> {
        find_mut(&self.0, value)
    }

    /// Takes the field out of its object. An element stays, so that its neighbours keep their places.
    pub(crate) fn remove_field(&self, value: &mut Value) {
        if let Some((PathSegment::Field(field), parents)) = self.0.split_last()
            && let Some(Value::Object(fields)) = find_mut(parents, value)
        {
            fields.remove(field);
        }
    }
}

fn find_mut<'a>(segments: &[PathSegment], value: &'a mut Value) -> Option<&'a mut Value> {
    segments.iter().try_fold(value, |value, segment| match segment {
        PathSegment::Field(field) => value.get_mut(field),
        PathSegment::Index(index) => value.get_mut(index),
    })
}

impl From<Vec<PathSegment>> for ValuePath {
    fn from(segments: Vec<PathSegment>) -> Self {
        Self(segments)
    }
}

impl fmt::Display for ValuePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return formatter.write_str("(the whole value)");
        }
        for (place, segment) in self.0.iter().enumerate() {
            match segment {
                PathSegment::Field(field) if place == 0 => formatter.write_str(field)?,
                PathSegment::Field(field) => write!(formatter, ".{field}")?,
                PathSegment::Index(index) => write!(formatter, "[{index}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_leads_to_a_part_and_is_written_as_people_write_it() {
        let path = ValuePath::root().then("servers").then(1).then("password");
        let mut value = json!({ "servers": [{}, { "password": "a", "user": "b" }] });
        assert_eq!(path.to_string(), "servers[1].password");
        assert_eq!(path.find(&value), Some(&json!("a")));
        *path.find_mut(&mut value).unwrap() = json!("c");
        path.remove_field(&mut value);
        path.remove_field(&mut value);
        assert_eq!(value, json!({ "servers": [{}, { "user": "b" }] }));
        assert_eq!((path.find(&value), ValuePath::root().find(&value)), (None, Some(&value)));
        assert_eq!(ValuePath::root().to_string(), "(the whole value)");
        let element = ValuePath::root().then("servers").then(0);
        element.remove_field(&mut value);
        assert_eq!(value["servers"].as_array().unwrap().len(), 2);
    }
}
