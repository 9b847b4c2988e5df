//! The forms that a secret is printed in.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};

use super::MIN_CHARACTERS;

/// Parts of base64 texts are masked from this length on: shorter ones are found where they mean nothing.
const MIN_BASE64_CHARACTERS: usize = 8;

/// Lines of a secret of several lines are masked from this length on: shorter ones are those of any text.
const MIN_LINE_CHARACTERS: usize = 16;

/// A secret and its encodings, each once. Also without white space around it, which a file has and a program takes off,
/// and its long lines, since logs are written line by line.
pub(super) fn encodings(secret: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for form in [secret, secret.trim()].into_iter().filter(|form| form.chars().count() >= MIN_CHARACTERS) {
        all.insert(form.to_owned());
        all.extend(json(form));
        all.extend(percent(form));
        all.extend(base64(form.as_bytes()));
    }
    let lines = secret.lines().map(str::trim).filter(|line| line.chars().count() >= MIN_LINE_CHARACTERS);
    all.extend(lines.map(str::to_owned));
    all
}

/// Within a JSON text: as most write it, with all but ASCII escaped, with escaped slashes, and with what HTML could
/// take for its own escaped.
fn json(secret: &str) -> impl Iterator<Item = String> {
    let escape = |is_escaped: fn(char) -> bool, slash: &str| {
        let mut escaped = String::new();
        for character in secret.chars() {
            match character {
                '"' => escaped.push_str("\\\""),
                '\\' => escaped.push_str("\\\\"),
                '\n' => escaped.push_str("\\n"),
                '\r' => escaped.push_str("\\r"),
                '\t' => escaped.push_str("\\t"),
                '\u{8}' => escaped.push_str("\\b"),
                '\u{c}' => escaped.push_str("\\f"),
                '/' => escaped.push_str(slash),
                _ if character < ' ' || is_escaped(character) => {
                    let units = character.encode_utf16(&mut [0; 2]).to_vec();
                    units.into_iter().for_each(|unit| _ = write!(escaped, "\\u{unit:04x}"));
                }
                _ => escaped.push(character),
            }
        }
        escaped
    };
    let not_ascii = |character: char| !character.is_ascii();
    let of_html = |character: char| matches!(character, '<' | '>' | '&' | '\u{2028}' | '\u{2029}');
    [escape(|_| false, "/"), escape(not_ascii, "/"), escape(|_| false, "\\/"), escape(not_ascii, "\\/"), escape(of_html, "/")].into_iter()
}

/// Within a URL or a form: all but letters, digits and what is left as it is: by RFC 3986 (2.3) with either space, by
/// Python's `quote`, by `encodeURIComponent` and `encodeURI`, by Go's `PathEscape`, in forms of browsers.
fn percent(secret: &str) -> impl Iterator<Item = String> {
    let escape = |kept: &str, space: &str, is_upper: bool| {
        let mut escaped = String::new();
        for byte in secret.bytes() {
            match char::from(byte) {
                ' ' => escaped.push_str(space),
                kept_character if byte.is_ascii_alphanumeric() || kept.contains(kept_character) => escaped.push(kept_character),
                _ if is_upper => _ = write!(escaped, "%{byte:02X}"),
                _ => _ = write!(escaped, "%{byte:02x}"),
            }
        }
        escaped
    };
    let standards = [
        ("-._~", "%20"),
        ("-._~", "+"),
        ("-._~/", "%20"),
        ("-._~!*'()", "%20"),
        ("-._~!*'();,/?:@&=+$#", "%20"),
        ("-._~$&+=:@", "%20"),
        ("-._*", "+"),
    ];
    let all = standards.map(|(kept, space)| [true, false].map(|is_upper| escape(kept, space, is_upper)));
    all.into_iter().flatten()
}

/// In base64, alone and as a part of something longer. There it has one of three forms, by where it begins. The first
/// and the last character of a part also depend on what is around it, and are no part of the form.
fn base64(secret: &[u8]) -> impl Iterator<Item = String> {
    let mut all = Vec::new();
    for engine in [&BASE64_STANDARD, &BASE64_URL_SAFE] {
        let whole = engine.encode(secret);
        all.push(whole.trim_end_matches('=').to_owned());
        all.push(whole);
        for before in 0..3 {
            let encoded = engine.encode([vec![0; before].as_slice(), secret].concat());
            let bits = 8 * (before + secret.len());
            let part: String = encoded.chars().take(bits / 6).skip((8 * before).div_ceil(6)).collect();
            all.extend(Some(part).filter(|part| part.len() >= MIN_BASE64_CHARACTERS));
        }
    }
    all.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(secret: &str, form: &str) -> bool {
        encodings(secret).contains(form)
    }

    #[test]
    fn a_secret_has_the_forms_that_programs_print() {
        let secret = "a\"b\\c/d\né <&>+";
        assert!(has(secret, secret));
        // Python's `json.dumps`, with `ensure_ascii` and without; with escaped slashes, as PHP does; Go's `encoding/json`.
        assert!(has(secret, r#"a\"b\\c/d\n\u00e9 <&>+"#));
        assert!(has(secret, r#"a\"b\\c/d\né <&>+"#));
        assert!(has(secret, r#"a\"b\\c\/d\n\u00e9 <&>+"#));
        assert!(has(secret, r#"a\"b\\c/d\né \u003c\u0026\u003e+"#));
        // Python's `quote(safe="")` and `quote_plus`; lower case too.
        assert!(has(secret, "a%22b%5Cc%2Fd%0A%C3%A9%20%3C%26%3E%2B"));
        assert!(has(secret, "a%22b%5Cc%2Fd%0A%C3%A9+%3C%26%3E%2B"));
        assert!(has(secret, "a%22b%5cc%2fd%0a%c3%a9%20%3c%26%3e%2b"));
        // `encodeURIComponent` and `URLSearchParams` of Node.js, `PathEscape` and `QueryEscape` of Go.
        assert!(has("it's (a) *secret*!~", "it's%20(a)%20*secret*!~"));
        assert!(has("it's (a) *secret*!~", "it%27s+%28a%29+*secret*%21%7E"));
        assert!(has("a b~!*'()&+", "a%20b~%21%2A%27%28%29&+"));
        assert!(has("a b~!*'()", "a+b~%21%2A%27%28%29"));
        assert!(has("🔑key", "\\ud83d\\udd11key"));
        // `base64` of coreutils.
        assert!(has(secret, "YSJiXGMvZArDqSA8Jj4r"));
        assert!(has("??>>~~", "Pz8+Pn5+") && has("??>>~~", "Pz8-Pn5-"));
        assert!(has("hunter2", "aHVudGVyMg==") && has("hunter2", "aHVudGVyMg"));
    }

    #[test]
    fn part_of_something_longer_in_base64_has_one_of_three_forms() {
        let secret = "correct horse";
        for before in ["", "u", "us", "use", "user:", "ünïcode"] {
            for after in ["", "!", "!!", "!!!"] {
                let whole = BASE64_STANDARD.encode(format!("{before}{secret}{after}"));
                let longest = encodings(secret).into_iter().filter(|form| whole.contains(form.as_str())).map(|form| form.len()).max();
                assert!(longest.is_some_and(|longest| longest >= 16), "{whole}");
            }
        }
    }

    #[test]
    fn white_space_around_it_and_line_breaks_do_not_hide_a_secret() {
        assert!(has(" hunter2\n", "hunter2") && has("hunter2\r\n", "hunter2") && has("hunter2\n", "aHVudGVyMg=="));
        assert!(!has("   a\n", "a"));
        let key = "-----BEGIN\nMIIEvQIBADANBgkqhkiG9w0B\nshort\n";
        assert!(has(key, "MIIEvQIBADANBgkqhkiG9w0B") && !has(key, "short"));
    }

    #[test]
    fn short_parts_of_base64_are_no_form() {
        assert!(encodings("abcd").iter().all(|form| form == "abcd" || form.starts_with("YWJjZA")));
    }
}
