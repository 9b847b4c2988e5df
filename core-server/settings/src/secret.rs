//! Secret fields of settings: where they are, and what is done with them (platform facts §5.2 and §5.3).
//!
//! A schema marks a secret with `x-secret: true`, on the field itself or on anything that describes it: alternatives,
//! references, entries of a map, elements of a list. A field is a secret when any of them says so, also if the value is
//! one of another alternative: a password that was left behind under the wrong kind of login is still a password. A
//! marked object or list is secret with all that is in it.
//!
//! [`SecretFields`] finds them at any depth. What a setting goes through:
//!
//! | when | with |
//! |---|---|
//! | a user saves it | [`update`](SecretFields::update): encrypts what is new, keeps what was left blank |
//! | the platform reads it | [`decrypt`](SecretFields::decrypt) |
//! | a user sees it | [`redact`](SecretFields::redact) |
//! | a key is exchanged | [`reencrypt`](SecretFields::reencrypt) |
//! | its output is shown | [`plaintexts`](SecretFields::plaintexts), for a [`Masker`](crate::mask::Masker) |

mod keep;
mod text;

use std::fmt;

use checkstack_calls::schema::Schema;
use serde_json::Value;
use zeroize::Zeroize as _;

pub use self::keep::KeepError;
pub use self::text::{SecretString, SerializeError, to_plain_value};
use crate::annotation::{SECRET, TEMPLATABLE};
use crate::description::Description;
use crate::keyring::{DecryptionError, EncryptionError, Keyring};
use crate::mask::MASK;
use crate::path::ValuePath;

/// The secret fields of one kind of settings.
#[derive(Clone)]
pub struct SecretFields {
    plugin_id: String,
    schema: Value,
}

/// A secret within a value.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    path: ValuePath,
    /// Whether the schema knows it by its name.
    is_property: bool,
    /// Whether it may be `null`.
    takes_null: bool,
}

/// Why the secret fields of a schema are not allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretSchemaError {
    /// A secret is never a template: what it is made into would be shown where templates are.
    #[error("a field in the schema of plugin `{plugin_id}` is both `{SECRET}` and `{TEMPLATABLE}`: leave one out ({field})")]
    Templatable {
        /// Whose schema it is.
        plugin_id: String,
        /// The last step to it.
        field: String,
    },
}

/// Why the secrets of a value were not encrypted or decrypted. Has no part of a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// A stored secret is not readable. Whoever asked must not get the value without it.
    #[error("the secret `{path}` of plugin `{plugin_id}` was not decrypted: {cause}")]
    Decryption {
        /// Whose it is.
        plugin_id: String,
        /// Which field.
        path: ValuePath,
        /// Why.
        cause: DecryptionError,
    },
    /// A secret was not encrypted. Nothing must be stored.
    #[error("the secret `{path}` of plugin `{plugin_id}` was not encrypted: {cause}")]
    Encryption {
        /// Whose it is.
        plugin_id: String,
        /// Which field.
        path: ValuePath,
        /// Why.
        cause: EncryptionError,
    },
    /// Only text can be encrypted; a number would be stored as it is.
    #[error("the secret `{path}` of plugin `{plugin_id}` is a {found}: enter text, or make it text in the plugin's schema")]
    NotText {
        /// Whose it is.
        plugin_id: String,
        /// Which field.
        path: ValuePath,
        /// The JSON type.
        found: &'static str,
    },
    /// It is not known which stored secret a blank one stands for.
    #[error("a secret of plugin `{plugin_id}` cannot be kept: {cause}")]
    Keep {
        /// Whose it is.
        plugin_id: String,
        /// Which, and what to do.
        cause: KeepError,
    },
}

impl SecretFields {
    /// Of settings with this schema, in which no reference can hide a secret: [`Schema::compile`] refuses those that are not followed.
    /// `plugin_id` is for errors.
    ///
    /// # Errors
    /// When a secret is a template.
    pub fn new(plugin_id: &str, schema: &Schema) -> Result<Self, SecretSchemaError> {
        check(plugin_id, schema.json(), "the whole value")?;
        Ok(Self { plugin_id: plugin_id.to_owned(), schema: schema.json().clone() })
    }

    /// Where the secrets of a value are. An object or a list that is secret is one place.
    #[must_use]
    pub fn paths(&self, value: &Value) -> Vec<ValuePath> {
        self.places(value).into_iter().map(|place| place.path).collect()
    }

    /// What a user may see: fields that are secret are taken out. An entry of a map or a list is left blank instead: its
    /// name or place is no secret, and without it nobody could tell that it is there, or take it away.
    #[must_use]
    pub fn redact(&self, mut value: Value) -> Value {
        for place in self.places(&value) {
            match place.is_property {
                true => place.path.remove_field(&mut value),
                false => place.path.find_mut(&mut value).into_iter().for_each(|secret| *secret = Value::String(String::new())),
            }
        }
        value
    }

    /// Encrypts what a user sent: every secret text that is not blank, also one that looks like a ciphertext. A user who
    /// has seen a ciphertext of somebody else must not get it decrypted.
    ///
    /// # Errors
    /// When a secret is a number or a boolean, or the system cannot encrypt.
    pub fn encrypt(&self, mut value: Value, keyring: &Keyring) -> Result<Value, SecretError> {
        self.change_texts(&mut value, |path, text| self.encrypted(path, text, keyring))?;
        Ok(value)
    }

    /// What is stored when a user saves `new` over `stored`, whose secrets are encrypted (or `null` when nothing is): new
    /// secrets are encrypted, and where one is missing or blank, the stored one stays as it is.
    ///
    /// - `null` in place of a secret takes it away; its field goes too, unless it may be `null`. `****` counts as blank: a
    ///   form may show it in place of a secret.
    /// - An object that is missing takes its secrets with it, and so does one that is now another alternative: a field
    ///   that alternatives fix (`const`) has another value.
    /// - Elements of lists belong together when all but their secrets is the same, or else by their `id` or `name`. When
    ///   that does not tell which stored secret a blank one stands for, it is an error rather than lost or mistaken.
    ///
    /// Who may change a setting may thus have its secrets sent elsewhere, by changing the address beside them.
    ///
    /// # Errors
    /// As [`encrypt`](Self::encrypt), and when it is not known which secret to keep.
    pub fn update(&self, mut new: Value, stored: &Value, keyring: &Keyring) -> Result<Value, SecretError> {
        self.change_texts(&mut new, |_, text| Ok((text == MASK).then(String::new)))?;
        let encrypted = self.encrypt(new, keyring)?;
        let keep_error = |cause| SecretError::Keep { plugin_id: self.plugin_id.clone(), cause };
        let mut kept = keep::keep_blank(&self.schema, encrypted, stored).map_err(keep_error)?;
        for place in self.places(&kept).iter().filter(|place| !place.takes_null) {
            if place.path.find(&kept).is_some_and(Value::is_null) {
                place.path.remove_field(&mut kept);
            }
        }
        // What was stored before its field became secret.
        self.change_texts(&mut kept, |path, text| match crate::keyring::is_encrypted(text) {
            true => Ok(None),
            false => self.encrypted(path, text, keyring),
        })?;
        Ok(kept)
    }

    /// Decrypts all secrets. Text that has not the form of a ciphertext stays: it was stored before its field became
    /// secret, and will be encrypted when it is saved.
    ///
    /// # Errors
    /// When any cannot be decrypted.
    pub fn decrypt(&self, mut value: Value, keyring: &Keyring) -> Result<Value, SecretError> {
        self.change_texts(&mut value, |path, text| {
            if !crate::keyring::is_encrypted(text) {
                return Ok(None);
            }
            let plaintext = keyring.decrypt(text).map_err(|cause| self.decryption_error(path, cause))?;
            Ok(Some(plaintext.as_str().to_owned()))
        })?;
        Ok(value)
    }

    /// Encrypts all secrets of a stored value with the current key: those that a previous key encrypted, and those
    /// that are not encrypted at all. Nothing when all are as they should be.
    ///
    /// # Errors
    /// When any cannot be decrypted or encrypted.
    pub fn reencrypt(&self, mut value: Value, keyring: &Keyring) -> Result<Option<Value>, SecretError> {
        let mut is_changed = false;
        self.change_texts(&mut value, |path, text| {
            let anew = match crate::keyring::is_encrypted(text) {
                false => self.encrypted(path, text, keyring)?,
                true if !keyring.needs_reencryption(text).map_err(|cause| self.decryption_error(path, cause))? => None,
                true => self.encrypted(path, &keyring.decrypt(text).map_err(|cause| self.decryption_error(path, cause))?, keyring)?,
            };
            is_changed |= anew.is_some();
            Ok(anew)
        })?;
        Ok(is_changed.then_some(value))
    }

    /// The secrets of a decrypted value, those that are not blank.
    #[must_use]
    pub fn plaintexts(&self, value: &Value) -> Vec<SecretString> {
        let mut texts = Vec::new();
        for place in self.places(value) {
            let within = texts_within(&place.path, place.path.find(value).unwrap_or(&Value::Null));
            texts.extend(within.into_iter().filter_map(|path| path.find(value)?.as_str()));
        }
        texts.into_iter().filter(|text| !is_blank(text)).map(SecretString::from).collect()
    }

    fn places(&self, value: &Value) -> Vec<Place> {
        let mut places = Vec::new();
        find(&Description::of(&self.schema), value, ValuePath::root(), false, &mut places);
        places
    }

    /// Has each text changed that is secret and not blank.
    fn change_texts(
        &self,
        value: &mut Value,
        mut change: impl FnMut(&ValuePath, &str) -> Result<Option<String>, SecretError>,
    ) -> Result<(), SecretError> {
        for place in self.places(value) {
            for path in texts_within(&place.path, place.path.find(value).unwrap_or(&Value::Null)) {
                match path.find_mut(value) {
                    Some(Value::String(text)) if !is_blank(text) => {
                        if let Some(changed) = change(&path, text)? {
                            text.zeroize();
                            *text = changed;
                        }
                    }
                    Some(Value::Number(_)) => return Err(self.not_text(path, "number")),
                    Some(Value::Bool(_)) => return Err(self.not_text(path, "boolean")),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn encrypted(&self, path: &ValuePath, text: &str, keyring: &Keyring) -> Result<Option<String>, SecretError> {
        let error = |cause| SecretError::Encryption { plugin_id: self.plugin_id.clone(), path: path.clone(), cause };
        keyring.encrypt(text).map(Some).map_err(error)
    }

    fn decryption_error(&self, path: &ValuePath, cause: DecryptionError) -> SecretError {
        SecretError::Decryption { plugin_id: self.plugin_id.clone(), path: path.clone(), cause }
    }

    fn not_text(&self, path: ValuePath, found: &'static str) -> SecretError {
        SecretError::NotText { plugin_id: self.plugin_id.clone(), path, found }
    }
}

/// Whether a secret was left out: no text, or nothing but space.
fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

fn find(description: &Description<'_>, value: &Value, path: ValuePath, is_property: bool, places: &mut Vec<Place>) {
    if description.is_marked(SECRET) {
        return places.push(Place { path, is_property, takes_null: takes_null(description) });
    }
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let field = description.field(name);
                find(&field.description, value, path.then(name.as_str()), field.is_property, places);
            }
        }
        Value::Array(elements) => {
            for (index, element) in elements.iter().enumerate() {
                find(&description.element(index), element, path.then(index), false, places);
            }
        }
        _ => {}
    }
}

fn takes_null(description: &Description<'_>) -> bool {
    description.parts().any(|part| match part.get("type") {
        Some(Value::Array(names)) => names.iter().any(|name| name == "null"),
        Some(name) => name == "null",
        None => false,
    })
}

/// The parts of a secret that have no parts themselves.
fn texts_within(path: &ValuePath, secret: &Value) -> Vec<ValuePath> {
    match secret {
        Value::Object(fields) => fields.iter().flat_map(|(name, value)| texts_within(&path.then(name.as_str()), value)).collect(),
        Value::Array(elements) => elements.iter().enumerate().flat_map(|(index, value)| texts_within(&path.then(index), value)).collect(),
        _ => vec![path.clone()],
    }
}

/// Looks at every part of a schema.
fn check(plugin_id: &str, part: &Value, name: &str) -> Result<(), SecretSchemaError> {
    match part {
        Value::Object(fields) => {
            let marked = |keyword: &str| fields.get(keyword) == Some(&Value::Bool(true));
            if marked(SECRET) && marked(TEMPLATABLE) {
                return Err(SecretSchemaError::Templatable { plugin_id: plugin_id.to_owned(), field: name.to_owned() });
            }
            fields.iter().try_for_each(|(name, part)| check(plugin_id, part, name))
        }
        Value::Array(parts) => parts.iter().try_for_each(|part| check(plugin_id, part, name)),
        _ => Ok(()),
    }
}

impl fmt::Debug for SecretFields {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SecretFields").field("plugin_id", &self.plugin_id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
