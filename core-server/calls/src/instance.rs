//! Calls about single objects, to which teams may have been granted access.

use serde_json::Value;

use crate::access::RuleId;
use crate::error::{CallError, ErrorCode};
use crate::gate::InstanceAccess;

impl InstanceAccess {
    /// The object that an input names, before the call. None where the output tells.
    ///
    /// # Errors
    /// 403 when the input names none: who may touch it cannot be said.
    pub fn object(&self, rule: &RuleId, input: Option<&Value>) -> Result<Option<String>, CallError> {
        let Self::IdParam(path) = self else { return Ok(None) };
        let named = path.split('.').try_fold(input.unwrap_or(&Value::Null), |value, field| value.get(field));
        match named.and_then(Value::as_str) {
            Some(id) if !id.is_empty() => Ok(Some(id.to_owned())),
            _ => Err(denied(rule, "")),
        }
    }

    /// The objects that an output names.
    #[must_use]
    pub fn objects(&self, output: &Value) -> Vec<String> {
        match self {
            Self::IdParam(_) => Vec::new(),
            Self::ListKey(key) => {
                let items = output.get(key).and_then(Value::as_array);
                items.into_iter().flatten().filter_map(id_of).map(str::to_owned).collect()
            }
            Self::RecordKey(key) => {
                let fields = output.get(key).and_then(Value::as_object);
                fields.into_iter().flat_map(|fields| fields.keys().cloned()).collect()
            }
        }
    }

    /// Leaves objects out of an output that the caller may not see, and those without an id.
    pub fn keep(&self, output: &mut Value, may: impl Fn(&str) -> bool) {
        match self {
            Self::IdParam(_) => {}
            Self::ListKey(key) => {
                if let Some(items) = output.get_mut(key).and_then(Value::as_array_mut) {
                    items.retain(|item| id_of(item).is_some_and(&may));
                }
            }
            Self::RecordKey(key) => {
                if let Some(fields) = output.get_mut(key).and_then(Value::as_object_mut) {
                    fields.retain(|id, _| may(id));
                }
            }
        }
    }
}

fn id_of(item: &Value) -> Option<&str> {
    item.get("id").and_then(Value::as_str)
}

/// The answer to somebody who may not touch an object.
#[must_use]
pub fn denied(rule: &RuleId, id: &str) -> CallError {
    CallError::with_message(ErrorCode::Forbidden, format!("Access denied to resource {}:{id}", rule.resource()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule() -> RuleId {
        "catalog.system.read".parse().unwrap()
    }

    #[test]
    fn the_input_names_the_object() {
        let access = InstanceAccess::IdParam("system.id".into());
        assert_eq!(access.object(&rule(), Some(&json!({ "system": { "id": "a" } }))), Ok(Some("a".into())));
        for input in [json!({}), json!({ "system": { "id": "" } }), json!({ "system": { "id": 1 } }), json!("a"), json!(null)] {
            let error = access.object(&rule(), Some(&input)).unwrap_err();
            assert_eq!((error.code, error.message.as_deref()), (ErrorCode::Forbidden, Some("Access denied to resource system:")));
        }
        assert!(access.object(&rule(), None).is_err());
        assert_eq!(InstanceAccess::ListKey("systems".into()).object(&rule(), None), Ok(None));
    }

    #[test]
    fn a_list_has_what_one_may_see() {
        let access = InstanceAccess::ListKey("systems".into());
        let mut output = json!({ "systems": [{ "id": "a" }, { "id": "b" }, { "name": "no id" }, 1], "total": 4 });
        assert_eq!(access.objects(&output), ["a", "b"]);
        access.keep(&mut output, |id| id == "b");
        assert_eq!(output, json!({ "systems": [{ "id": "b" }], "total": 4 }));
    }

    #[test]
    fn a_record_has_what_one_may_see() {
        let access = InstanceAccess::RecordKey("states".into());
        let mut output = json!({ "states": { "a": 1, "b": 2 } });
        assert_eq!(access.objects(&output), ["a", "b"]);
        access.keep(&mut output, |id| id == "a");
        assert_eq!(output, json!({ "states": { "a": 1 } }));
        let mut other = json!([1]);
        assert!(access.objects(&other).is_empty());
        access.keep(&mut other, |_| false);
        assert_eq!(other, json!([1]));
    }
}
