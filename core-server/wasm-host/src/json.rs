//! Texts of guests that have to be JSON.

use serde_json::Value;

/// Reads `text`, unless it is longer than `most` bytes; the error is one sentence.
pub(crate) fn json(what: &str, text: &str, most: usize) -> Result<Value, String> {
    match text.len() > most {
        true => Err(format!("the {what} has {} bytes; at most {most} are allowed", text.len())),
        false => serde_json::from_str(text).map_err(|problem| format!("the {what} is no JSON: {problem}")),
    }
}
