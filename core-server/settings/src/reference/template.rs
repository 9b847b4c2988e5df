//! A text with references in it.

use super::name::SecretName;

const OPENING: &str = "${{";
const CLOSING: &str = "}}";
/// What follows the opening, and white space.
const SCOPE: &str = "secrets.";

/// A part of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// As it is.
    Text(&'a str),
    /// To a secret.
    Reference(SecretName),
}

/// It begins as a reference to a secret, and is none.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Divides a text. `${{` with anything else than a secret after it is text.
pub(super) fn parts(text: &str) -> impl Iterator<Item = Result<Part<'_>, Malformed>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (part, after) = next(rest)?;
        rest = after;
        Some(part)
    })
}

/// The first part, and what follows it.
fn next(text: &str) -> Option<(Result<Part<'_>, Malformed>, &str)> {
    if text.is_empty() {
        return None;
    }
    let mut starts = text.match_indices(OPENING);
    let found = starts.find_map(|(place, opening)| {
        let inner = text.get(place + opening.len()..)?.trim_start().strip_prefix(SCOPE)?;
        Some((place, inner))
    });
    Some(match found {
        None => (Ok(Part::Text(text)), ""),
        Some((0, inner)) => match reference(inner) {
            Some((name, after)) => (Ok(Part::Reference(name)), after),
            None => (Err(Malformed), ""),
        },
        Some((place, _)) => text.split_at_checked(place).map(|(before, after)| (Ok(Part::Text(before)), after))?,
    })
}

/// The name, and what follows the closing braces.
fn reference(inner: &str) -> Option<(SecretName, &str)> {
    let end = inner.find(|character| !SecretName::has(character))?;
    let (name, after) = inner.split_at_checked(end)?;
    Some((name.parse().ok()?, after.trim_start().strip_prefix(CLOSING)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn divided(text: &str) -> Result<Vec<String>, Malformed> {
        let shown = |part| match part {
            Part::Text(text) => text.to_owned(),
            Part::Reference(name) => format!("<{name}>"),
        };
        parts(text).map(|part| part.map(shown)).collect()
    }

    #[test]
    fn a_text_is_divided_at_its_references() {
        let cases: [(&str, &[&str]); 12] = [
            ("", &[]),
            ("text", &["text"]),
            ("${{ secrets.A }}", &["<A>"]),
            ("${{secrets.A-b_9}}", &["<A-b_9>"]),
            ("${{ \t\n secrets.A\u{a0} }}", &["<A>"]),
            ("a ${{ secrets.A }}${{ secrets.B }} b", &["a ", "<A>", "<B>", " b"]),
            ("${{ secrets.A }}}", &["<A>", "}"]),
            ("$${{ secrets.A }}", &["$", "<A>"]),
            ("${{ ${{ secrets.A }}", &["${{ ", "<A>"]),
            ("${{ inputs.A }} ü", &["${{ inputs.A }} ü"]),
            ("${ secrets.A } {{ secrets.A }} ${{ secret.A }}", &["${ secrets.A } {{ secrets.A }} ${{ secret.A }}"]),
            ("${{ Secrets.A }} ${{ secrets .A }}", &["${{ Secrets.A }} ${{ secrets .A }}"]),
        ];
        for (text, expected) in cases {
            assert_eq!(divided(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_begins_as_a_reference_and_is_none_is_malformed() {
        for text in [
            "${{ secrets.",
            "${{ secrets.A",
            "${{ secrets.A }",
            "${{ secrets.A } }",
            "${{ secrets. A }}",
            "${{ secrets.ü }}",
            "${{ secrets.A.b }}",
            "${{ secrets.A || 'b' }}",
            "${{ secrets.__internal__:a }}",
            "a ${{ secrets.A }} ${{ secrets.}}",
        ] {
            assert_eq!(divided(text), Err(Malformed), "{text}");
        }
    }
}
