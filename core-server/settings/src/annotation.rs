//! What a schema says of a field besides its type: keywords that forms and the platform act on (platform facts §5.4).
//!
//! A Rust type gets them with [`Annotations`] and `schemars`:
//!
//! ```
//! use checkstack_settings::annotation::Annotations;
//!
//! #[derive(schemars::JsonSchema)]
//! struct Settings {
//!     #[schemars(transform = Annotations::new().options_resolver("projects").depends_on("url").searchable())]
//!     project: String,
//!     url: String,
//! }
//! let schema = schemars::schema_for!(Settings);
//! assert_eq!(schema.pointer("/properties/project/x-depends-on"), Some(&serde_json::json!(["url"])));
//! ```

use schemars::Schema;
use schemars::transform::Transform;
use serde_json::{Map, Value, json};

/// `true`: the value is a secret. See [`secret`](crate::secret).
pub const SECRET: &str = "x-secret";
/// `true`: the text is a colour.
pub const COLOR: &str = "x-color";
/// `true`: forms do not show the field.
pub const HIDDEN: &str = "x-hidden";
/// Name of the resolver that knows which values can be chosen.
pub const OPTIONS_RESOLVER: &str = "x-options-resolver";
/// Names of the fields that the choice depends on.
pub const DEPENDS_ON: &str = "x-depends-on";
/// `true`: the choice can be searched.
pub const SEARCHABLE: &str = "x-searchable";
/// Names of the editors that a text can be edited with: `none`, `raw`, `json`, `formdata` and others.
pub const EDITOR_TYPES: &str = "x-editor-types";
/// How a choice is shown.
pub const OPTIONS_STYLE: &str = "x-options-style";
/// When forms do not show the field.
pub const HIDDEN_WHEN: &str = "x-hidden-when";
/// `true`: the text is a script that can be tried out.
pub const SCRIPT_TESTABLE: &str = "x-script-testable";
/// The entries are environment variables that are filled from secrets.
pub const SECRET_ENVIRONMENT: &str = "x-secret-env";
/// `true`: the text may have templates. Never together with [`SECRET`].
pub const TEMPLATABLE: &str = "x-templatable";
/// The id that a secret is kept under.
pub const SECRET_ID: &str = "x-secret-id";

/// Annotations of one field, to be written into its schema.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Annotations(Map<String, Value>);

impl Annotations {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The value is a secret. Types that are [`SecretString`](crate::secret::SecretString) are marked already.
    #[must_use]
    pub fn secret(self) -> Self {
        self.with(SECRET, json!(true))
    }

    /// The text is a colour.
    #[must_use]
    pub fn color(self) -> Self {
        self.with(COLOR, json!(true))
    }

    /// Forms do not show it.
    #[must_use]
    pub fn hidden(self) -> Self {
        self.with(HIDDEN, json!(true))
    }

    /// Values are chosen from those that a resolver gives.
    #[must_use]
    pub fn options_resolver(self, name: &str) -> Self {
        self.with(OPTIONS_RESOLVER, json!(name))
    }

    /// The choice depends on one more field.
    #[must_use]
    pub fn depends_on(self, field: &str) -> Self {
        self.and(DEPENDS_ON, field)
    }

    /// The choice can be searched.
    #[must_use]
    pub fn searchable(self) -> Self {
        self.with(SEARCHABLE, json!(true))
    }

    /// One more editor that the text can be edited with.
    #[must_use]
    pub fn editor_type(self, name: &str) -> Self {
        self.and(EDITOR_TYPES, name)
    }

    /// The text may have templates.
    #[must_use]
    pub fn templatable(self) -> Self {
        self.with(TEMPLATABLE, json!(true))
    }

    /// Any other.
    #[must_use]
    pub fn with(mut self, keyword: &str, value: Value) -> Self {
        self.0.insert(keyword.to_owned(), value);
        self
    }

    /// With one more text in a list.
    fn and(mut self, keyword: &str, text: &str) -> Self {
        let texts = self.0.entry(keyword).or_insert_with(|| json!([]));
        texts.as_array_mut().into_iter().for_each(|texts| texts.push(json!(text)));
        self
    }
}

impl Transform for Annotations {
    fn transform(&mut self, schema: &mut Schema) {
        self.0.iter().for_each(|(keyword, value)| {
            schema.insert(keyword.clone(), value.clone());
        });
    }
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;

    use super::*;

    #[derive(JsonSchema)]
    struct Annotated {
        #[schemars(transform = Annotations::new().secret())]
        token: Option<String>,
        #[schemars(transform = Annotations::new().color().hidden().with(OPTIONS_STYLE, json!("tiles")))]
        color: String,
        #[schemars(transform = Annotations::new().options_resolver("all").editor_type("raw").editor_type("json").templatable())]
        body: Nested,
    }

    #[derive(JsonSchema)]
    struct Nested {
        text: String,
    }

    #[test]
    fn a_rust_type_has_annotated_fields() {
        let schema = schemars::schema_for!(Annotated).to_value();
        let properties = schema.get("properties").unwrap();
        assert_eq!(properties["token"], json!({ "type": ["string", "null"], "x-secret": true }));
        assert_eq!(properties["color"], json!({ "type": "string", "x-color": true, "x-hidden": true, "x-options-style": "tiles" }));
        let body = json!({
            "$ref": "#/$defs/Nested", "x-options-resolver": "all", "x-editor-types": ["raw", "json"], "x-templatable": true,
        });
        assert_eq!(properties["body"], body);
        let all = Annotated { token: None, color: String::new(), body: Nested { text: String::new() } };
        assert!(all.token.is_none() && all.color.is_empty() && all.body.text.is_empty());
    }
}
