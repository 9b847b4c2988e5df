//! Names of the document as those of a language.

use std::collections::BTreeSet;

use heck::{ToLowerCamelCase as _, ToSnakeCase as _, ToUpperCamelCase as _};

/// Names that are taken in a scope.
#[derive(Debug, Default)]
pub(crate) struct Scope(BTreeSet<String>);

impl Scope {
    /// Of types: without those that the languages have, and that clients use.
    pub(crate) fn of_types() -> Self {
        Self(["Array", "Date", "Map", "Promise", "RegExp", "Self", "Set"].map(str::to_owned).into())
    }

    /// The name, or with a number behind it if it is taken.
    pub(crate) fn name(&mut self, wanted: String) -> String {
        let mut name = wanted.clone();
        let mut number = 2;
        while !self.0.insert(name.clone()) {
            name = format!("{wanted}{number}");
            number += 1;
        }
        name
    }
}

/// Of a type.
pub(crate) fn type_name(text: &str) -> String {
    begins_with_a_letter(plain(text).to_upper_camel_case(), 'T')
}

/// `targets/history` as `targetsHistory`.
pub(crate) fn camel(text: &str) -> String {
    begins_with_a_letter(plain(text).to_lower_camel_case(), 'p')
}

/// `targets/history` as `targets_history`.
pub(crate) fn snake(text: &str) -> String {
    begins_with_a_letter(plain(text).to_snake_case(), 'p')
}

/// Names of schemas may have anything in them.
fn plain(text: &str) -> String {
    text.replace(|character: char| !character.is_ascii_alphanumeric(), "_")
}

/// Paths and ids may begin with a digit, or have nothing that a name can have.
fn begins_with_a_letter(name: String, letter: char) -> String {
    if name.starts_with(|first: char| first.is_ascii_alphabetic()) { name } else { format!("{letter}{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_language() {
        assert_eq!(
            (type_name("targets/history"), camel("targets/history"), snake("getLagStatus")),
            ("TargetsHistory".into(), "targetsHistory".into(), "get_lag_status".into())
        );
        assert_eq!((type_name("2nd"), camel("2nd"), snake("_")), ("T2nd".into(), "p2nd".into(), "p".into()));
        assert_eq!(type_name("a².ü \"b"), "AB");
    }

    #[test]
    fn nothing_is_called_the_same() {
        let mut scope = Scope::default();
        let names: Vec<String> = ["a", "a", "a2", "a"].map(|name| scope.name(name.to_owned())).into();
        assert_eq!(names, ["a", "a2", "a22", "a3"]);
    }
}
