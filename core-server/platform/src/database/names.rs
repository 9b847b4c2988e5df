//! Names of what a plugin has in the database.

use checkstack_plugin_package::{Digest, PluginId};

/// PostgreSQL cuts longer identifiers off.
const LONGEST: usize = 63;
/// Hexadecimal digits that make a shortened name unique.
const HASH_DIGITS: usize = 8;

/// The schema: `plugin_<id>`, shortened with a hash where PostgreSQL would cut it off.
pub(crate) fn schema(plugin_id: &PluginId) -> String {
    let whole = format!("plugin_{plugin_id}");
    if whole.len() <= LONGEST {
        return whole;
    }
    let kept: String = whole.chars().take(LONGEST - HASH_DIGITS - 1).collect();
    // An underscore is in no plugin id: a shortened name is never another plugin's whole one.
    format!("{kept}_{}", hash(plugin_id.as_str()))
}

/// The login role. Roles belong to the whole PostgreSQL cluster, plugins to one database of it.
pub(crate) fn role(database: &str, plugin_id: &PluginId) -> String {
    const KEPT: usize = 40;
    let kept: String = plugin_id.as_str().chars().take(KEPT).collect();
    format!("plugin_{kept}_{}", hash(&format!("{database}\0{plugin_id}")))
}

/// As an identifier in a statement.
pub(crate) fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// As a text in a statement.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn hash(text: &str) -> String {
    Digest::of(text.as_bytes()).hex().chars().take(HASH_DIGITS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> PluginId {
        text.parse().unwrap()
    }

    #[test]
    fn a_schema_is_the_plain_id_as_long_as_it_fits() {
        assert_eq!(schema(&id("api-docs")), "plugin_api-docs");
        assert_eq!(schema(&id(&"a".repeat(56))).len(), 63);
    }

    #[test]
    fn long_ids_that_begin_alike_have_different_names() {
        let (one, other) = (id(&format!("{}b", "a".repeat(60))), id(&format!("{}c", "a".repeat(60))));
        assert_ne!(schema(&one), schema(&other));
        assert_ne!(role("db", &one), role("db", &other));
        for name in [schema(&one), role("db", &one)] {
            assert!(name.len() <= LONGEST, "{name}");
        }
    }

    #[test]
    fn one_plugin_in_two_databases_has_two_roles() {
        assert_ne!(role("one", &id("uptime")), role("other", &id("uptime")));
        // Renaming a role orphans what it owns: the form must not change.
        assert_eq!(role("checkstack", &id("uptime")), "plugin_uptime_91b1d617");
    }

    #[test]
    fn identifiers_and_texts_are_quoted() {
        assert_eq!(quoted("plugin_a"), "\"plugin_a\"");
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal("a'b"), "'a''b'");
    }
}
