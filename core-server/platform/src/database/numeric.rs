//! PostgreSQL's `numeric` between its binary form and decimal text, without loss.
//!
//! The binary form is a count of base-10000 digits, the weight of the first of them, a sign, the
//! number of decimal places to show, and the digits.

const POSITIVE: u16 = 0x0000;
const NEGATIVE: u16 = 0x4000;
const NOT_A_NUMBER: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const NEGATIVE_INFINITY: u16 = 0xF000;

/// Longest text that is taken: PostgreSQL allows 131,072 digits before the point and 16,383 after.
const LONGEST: usize = 150_000;

/// Decimal text of a value as the database sends it; `None` if the bytes are no numeric.
pub(crate) fn decode(bytes: &[u8]) -> Option<String> {
    let mut words = bytes.chunks(2).map(|word| <[u8; 2]>::try_from(word).ok().map(u16::from_be_bytes));
    let mut next = || words.next().flatten();
    let (count, weight, sign, scale) = (next()?, next()?.cast_signed(), next()?, usize::from(next()?));
    match sign {
        NOT_A_NUMBER => return Some("NaN".into()),
        INFINITY => return Some("Infinity".into()),
        NEGATIVE_INFINITY => return Some("-Infinity".into()),
        POSITIVE | NEGATIVE => {}
        _ => return None,
    }
    let digits: Vec<u16> = (0..count).map(|_| next()).collect::<Option<_>>()?;
    let group = |position: i32| {
        let index = i32::from(weight) - position;
        usize::try_from(index).ok().and_then(|index| digits.get(index)).copied().unwrap_or(0)
    };
    let mut text = String::new();
    if sign == NEGATIVE {
        text.push('-');
    }
    text.push_str(&group(i32::from(weight).max(0)).to_string());
    for position in (0..i32::from(weight).max(0)).rev() {
        text.push_str(&format!("{:04}", group(position)));
    }
    if scale > 0 {
        text.push('.');
        let groups = i32::try_from(scale.div_ceil(4)).ok()?;
        let fraction: String = (1..=groups).map(|position| format!("{:04}", group(-position))).collect();
        text.push_str(fraction.get(..scale)?);
    }
    Some(text)
}

/// The binary form of a decimal number: digits with at most one point, and a sign. `NaN` and the
/// infinities are taken as PostgreSQL writes them.
pub(crate) fn encode(text: &str) -> Option<Vec<u8>> {
    match text {
        "NaN" => return Some(words(0, 0, NOT_A_NUMBER, 0, &[])),
        "Infinity" => return Some(words(0, 0, INFINITY, 0, &[])),
        "-Infinity" => return Some(words(0, 0, NEGATIVE_INFINITY, 0, &[])),
        _ => {}
    }
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(unsigned) => (NEGATIVE, unsigned),
        None => (POSITIVE, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if unsigned.len() > LONGEST || (whole.is_empty() && fraction.is_empty()) || !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let scale = u16::try_from(fraction.len()).ok().filter(|scale| *scale <= 16_383)?;
    // Groups of four around the point.
    let padded = format!(
        "{}{whole}{fraction}{}",
        "0".repeat(whole.len().next_multiple_of(4) - whole.len()),
        "0".repeat(fraction.len().next_multiple_of(4) - fraction.len())
    );
    let groups: Vec<u16> =
        padded.as_bytes().chunks(4).map(|group| group.iter().fold(0, |value, digit| value * 10 + u16::from(digit - b'0'))).collect();
    let first = groups.iter().position(|group| *group != 0);
    let Some(first) = first else { return Some(words(0, 0, POSITIVE, scale, &[])) };
    let last = groups.iter().rposition(|group| *group != 0)?;
    let weight = i16::try_from(whole.len().div_ceil(4)).ok()? - 1 - i16::try_from(first).ok()?;
    let digits = groups.get(first..=last)?;
    Some(words(u16::try_from(digits.len()).ok()?, weight, sign, scale, digits))
}

fn words(count: u16, weight: i16, sign: u16, scale: u16, digits: &[u16]) -> Vec<u8> {
    [count, weight.cast_unsigned(), sign, scale].iter().chain(digits).flat_map(|word| word.to_be_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_binary_form_is_postgresqls() {
        // SELECT numeric_send(x)
        for (text, hex) in [
            ("0", "0000000000000000"),
            ("0.00", "0000000000000002"),
            ("1", "00010000000000000001"),
            ("-12345.678", "0003000140000003000109291a7c"),
            ("0.0001", "0001ffff000000040001"),
            ("10000", "00010001000000000001"),
            ("0.00000012", "0001fffe00000008000c"),
        ] {
            let bytes = hex::decode(hex).unwrap();
            assert_eq!(encode(text).unwrap(), bytes, "{text}");
            assert_eq!(decode(&bytes).unwrap(), text);
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", "-", ".", "1e5", "1.2.3", "0x10", " 1", "1 ", "--1", "nan", "١"] {
            assert_eq!(encode(text), None, "{text}");
        }
        assert_eq!(decode(b""), None);
        assert_eq!(decode(&[0, 1, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(decode(&encode("NaN").unwrap()).unwrap(), "NaN");
    }

    proptest! {
        #[test]
        fn text_survives_the_round_trip(whole in "[1-9][0-9]{0,30}|0", fraction in "[0-9]{0,30}", negative: bool) {
            let number = if fraction.is_empty() { whole } else { format!("{whole}.{fraction}") };
            let is_zero = number.bytes().all(|byte| matches!(byte, b'0' | b'.'));
            let text = if negative && !is_zero { format!("-{number}") } else { number };
            prop_assert_eq!(decode(&encode(&text).unwrap()).unwrap(), text);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = decode(&bytes);
        }
    }
}
