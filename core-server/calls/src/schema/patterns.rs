//! What the patterns of a schema cost.
//!
//! The engine takes a time that is linear in the text, but also in the size of the pattern where it comes to the worst.

use regex::RegexBuilder;
use serde_json::Value;

/// Patterns that take up to so many bytes when they are compiled, and what a byte of text costs then, in sixteenths of a visit.
const COSTS: [(usize, u64); 3] = [(4 * 1024, 16), (16 * 1024, 256), (64 * 1024, 1024)];
/// With any other.
const MOST: u64 = 16 * 1024;

/// What a byte of text costs at most, in sixteenths of a visit. Nothing, where there is no pattern.
pub(super) fn cost_per_byte(schema: &Value) -> u64 {
    match schema {
        Value::Object(fields) => {
            let own = fields.get("pattern").and_then(Value::as_str).map_or(0, cost);
            let of_names = fields.get("patternProperties").and_then(Value::as_object).into_iter().flat_map(|schemas| schemas.keys());
            let named = of_names.map(|pattern| cost(pattern)).max().unwrap_or(0);
            fields.values().map(cost_per_byte).max().unwrap_or(0).max(own).max(named)
        }
        Value::Array(items) => items.iter().map(cost_per_byte).max().unwrap_or(0),
        _ => 0,
    }
}

fn cost(pattern: &str) -> u64 {
    let fits = |bytes: usize| RegexBuilder::new(pattern).size_limit(bytes).build().is_ok();
    COSTS.into_iter().find(|(bytes, _)| fits(*bytes)).map_or(MOST, |(_, cost)| cost)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn large_patterns_cost_more() {
        assert_eq!(cost_per_byte(&json!({ "type": "string" })), 0);
        assert_eq!(cost_per_byte(&json!({ "pattern": "^[a-z]+$" })), 16);
        assert_eq!(cost_per_byte(&json!({ "items": { "pattern": "^[a-z]+$" }, "patternProperties": { "[01]*1[01]{500}$": {} } })), 1024);
        assert_eq!(cost_per_byte(&json!({ "anyOf": [{ "pattern": "[01]*1[01]{5000}$" }] })), MOST);
    }
}
