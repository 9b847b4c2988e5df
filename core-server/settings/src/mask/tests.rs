use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn masker(secrets: &[&str]) -> Masker {
    Masker::new(secrets.iter().copied()).unwrap()
}

/// Looks for each pattern at each place, and puts overlapping ones together.
fn naive(patterns: &[Vec<u8>], text: &[u8]) -> Vec<u8> {
    // Between two places that one occurrence covers there is no gap.
    let mut is_secret = vec![false; text.len()];
    let mut is_joined = vec![false; text.len() + 1];
    for start in 0..text.len() {
        for pattern in patterns {
            if text[start..].starts_with(pattern) {
                (start..start + pattern.len()).for_each(|place| is_secret[place] = true);
                (start + 1..start + pattern.len()).for_each(|place| is_joined[place] = true);
            }
        }
    }
    let mut output = Vec::new();
    for (place, byte) in text.iter().enumerate() {
        match is_secret[place] {
            false => output.push(*byte),
            true if !is_joined[place] => output.extend_from_slice(b"****"),
            true => {}
        }
    }
    output
}

fn in_parts(masker: &Masker, text: &[u8], cuts: &[prop::sample::Index]) -> (Vec<u8>, usize) {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
    places.extend([0, text.len()]);
    places.sort_unstable();
    let mut stream = masker.stream();
    let (mut output, mut most_held) = (Vec::new(), 0);
    for part in places.windows(2) {
        output.extend(stream.push(&text[part[0]..part[1]]));
        most_held = most_held.max(stream.held());
    }
    output.extend(stream.finish());
    (output, most_held)
}

#[test]
fn a_secret_is_not_shown() {
    let masker = masker(&["hunter2", "s3cr3t/+ü"]);
    let cases = [
        ("", ""),
        ("nothing", "nothing"),
        ("hunter2", "****"),
        ("a hunter2, hunter2hunter2 b", "a ****, ******** b"),
        ("hunter", "hunter"),
        ("huntehunter2unter2", "hunte****unter2"),
        (r#"{"p":"s3cr3t\/+\u00fc"}"#, r#"{"p":"****"}"#),
        ("?p=s3cr3t%2F%2B%C3%BC&q", "?p=****&q"),
        ("Basic aHVudGVyMg==", "Basic ****"),
        ("Hunter2", "Hunter2"),
    ];
    for (text, masked) in cases {
        assert_eq!(masker.text(text), masked);
        assert_eq!(masker.bytes(text.as_bytes()), masked.as_bytes());
    }
    assert!(matches!(masker.text("nothing"), Cow::Borrowed("nothing")));
}

#[test]
fn part_of_a_base64_text_is_not_shown() {
    // `user:correct horse` and `me:correct horse!`, by coreutils.
    let masker = masker(&["correct horse"]);
    for text in ["dXNlcjpjb3JyZWN0IGhvcnNl", "bWU6Y29ycmVjdCBob3JzZSE="] {
        let masked = masker.text(text);
        assert!(masked.contains("****") && masked.len() < 14, "{masked}");
    }
}

#[test]
fn fewer_than_four_characters_are_shown() {
    let masker = masker(&["abc", "", "äöü", "wxyz", "äöüß"]);
    assert_eq!(masker.text("abc wxyz äöü äöüß"), "abc **** äöü ****");
    assert_eq!(Masker::new([]).unwrap().text("abc"), "abc");
    assert_eq!(super::Masker::new(["abc"]).unwrap().bytes(b"abc\xff"), b"abc\xff".as_slice());
}

#[test]
fn of_overlapping_secrets_nothing_is_left() {
    let masker = masker(&["abcdef", "defghi", "cdef", "ghij"]);
    assert_eq!(masker.text("-abcdefghi-"), "-****-");
    assert_eq!(masker.text("-abcdefghij-"), "-****-");
    assert_eq!(masker.text("-abcdefghij"), "-****");
    assert_eq!(masker.text("xcdefx"), "x****x");
    assert_eq!(masker.text("cdefghij"), "****", "one of three overlaps both others");
    assert_eq!(masker.text("abcdefabcdef"), "********", "next to each other is not overlapping");
}

#[test]
fn a_secret_in_two_parts_is_found_and_other_output_is_not_delayed() {
    let masker = masker(&["hunter2"]);
    let mut stream = masker.stream();
    assert_eq!(stream.push(b"a line\n"), b"a line\n", "nothing to wait for");
    assert_eq!(stream.push(b"its hun"), b"its ");
    assert_eq!(stream.held(), 3);
    assert_eq!(stream.push(b"ter2 is"), b"**** is");
    assert_eq!(stream.push(b" hunt"), b" ");
    assert_eq!(stream.finish(), b"hunt");
}

#[test]
fn a_value_is_masked_wherever_a_secret_is() {
    let masker = masker(&["hunter2", "12345"]);
    let value = json!({ "a": ["x hunter2", 123456, 1234, true, null], "hunter2": { "b": "12345" } });
    assert_eq!(masker.value(value), json!({ "a": ["x ****", "****6", 1234, true, null], "****": { "b": "****" } }));
}

#[test]
fn too_much_is_refused_and_debug_shows_nothing() {
    let long = "x".repeat(MAX_PATTERN_BYTES + 1);
    assert!(matches!(Masker::new([long.as_str()]), Err(MaskError::TooLong { bytes }) if bytes > MAX_PATTERN_BYTES));
    // Nothing is shared by these, which takes the most memory.
    let most: Vec<String> = (0_u64..4000).map(|it| format!("{:016x}", it.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    let masker = super::Masker::new(most.iter().map(String::as_str)).unwrap();
    let bytes: usize = most.iter().flat_map(|secret| encodings(secret)).map(|form| form.len()).sum();
    let memory = masker.automaton.memory_usage();
    assert!(memory < 20 * bytes, "{memory} for {bytes}");
    let half = "ü".repeat(MAX_PATTERN_BYTES / 8);
    let refused = Masker::new([half.as_str()]).unwrap_err();
    assert!(matches!(refused, MaskError::TooLong { .. }) && refused.to_string().len() < 200);
    assert_eq!(format!("{:?}", Masker::of_patterns(&["hunter2"]).unwrap()), "Masker { patterns: 1 }");
}

proptest! {
    #[test]
    fn it_does_what_the_naive_one_does_however_the_text_is_divided(
        patterns in vec(vec(prop::sample::select(b"ab".to_vec()), 1..7), 0..5),
        text in vec(prop::sample::select(b"abc".to_vec()), 0..60),
        cuts in vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let masker = Masker::of_patterns(&patterns).unwrap();
        let (output, most_held) = in_parts(&masker, &text, &cuts);
        prop_assert_eq!(output, naive(&patterns, &text));
        let longest = patterns.iter().map(Vec::len).max().unwrap_or(0);
        prop_assert!(most_held < longest.max(1), "{} held of {}", most_held, longest);
    }

    #[test]
    fn no_secret_and_no_encoding_of_one_is_left(
        secrets in vec("[a-zA-Z0-9/+\"\\\\ äß🔑-]{4,12}", 1..4),
        gaps in vec("[.;\n]{1,5}", 1..8),
        cuts in vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let masker = Masker::new(secrets.iter().map(String::as_str)).unwrap();
        let forms: Vec<String> = secrets.iter().flat_map(|secret| encodings(secret)).collect();
        let text: String = forms.iter().zip(gaps.iter().cycle()).map(|(form, gap)| format!("{gap}{form}")).collect();
        let (output, _) = in_parts(&masker, text.as_bytes(), &cuts);
        let output = String::from_utf8(output).unwrap();
        prop_assert_eq!(&output, &*masker.text(&text));
        prop_assert!(forms.iter().all(|form| !output.contains(form.as_str())), "{}", output);
    }

    #[test]
    fn any_bytes_without_a_secret_stay(text in vec(any::<u8>(), 0..200), cuts in vec(any::<prop::sample::Index>(), 0..10)) {
        let masker = Masker::new(["a secret that is not there"]).unwrap();
        prop_assert_eq!(in_parts(&masker, &text, &cuts).0, text);
    }
}
