use proptest::prelude::*;

use super::*;

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const OTHER_KEY: &str = "fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0efeeedecebeae9e8e7e6e5e4e3e2e1e0";
const THIRD_KEY: &str = "1111111111111111111111111111111111111111111111111111111111111111";

/// Made by Python's `cryptography` 48 (`AESGCM`) and, the first and the last, by `node:crypto` of Node.js 20.
const VECTORS: [(&str, &str, &str); 4] = [
    (KEY, "AAECAwQFBgcICQoL:2Q0dD8GxyvYmr28rkQ6BmQ==:L3e4b6CX8A==", "hunter2"),
    (OTHER_KEY, "oKGio6Slpqeoqaqr:arN8UTs/OqAzxXw9IovHcw==:okjEkWHgrATGhCnq86CvrDHDg8iT2IWvjtE=", "pässwörd – 密码 🔑"),
    (KEY, "////////////////:m5VsipH/7bsq/Szso+smrw==:W7uN8wM=", "a:b:c"),
    (KEY, "CwoJCAcGBQQDAgEA:SEO3BylrSkin+1kWuFeRDg==:Ro82fxYGAvma", "from node"),
];

fn keyring(current: &str, previous: &[&str]) -> Keyring {
    Keyring::parse(current, &previous.join(",")).unwrap()
}

#[test]
fn what_others_encrypted_is_read() {
    for (key, ciphertext, plaintext) in VECTORS {
        assert!(is_encrypted(ciphertext));
        assert_eq!(keyring(key, &[]).decrypt(ciphertext).unwrap().as_str(), plaintext);
    }
}

#[test]
fn a_changed_ciphertext_is_refused() {
    let keys = keyring(KEY, &[OTHER_KEY]);
    let refused = Err(DecryptionError::NotAuthentic { keys: 2 });
    for changed in [
        "AAECAwQFBgcICQoM:2Q0dD8GxyvYmr28rkQ6BmQ==:L3e4b6CX8A==",
        "AAECAwQFBgcICQoL:2Q0dD8GxyvYmr28rkQ6BmA==:L3e4b6CX8A==",
        "AAECAwQFBgcICQoL:2Q0dD8GxyvYmr28rkQ6BmQ==:L3e4b6CX8Q==",
        "AAECAwQFBgcICQoL:2Q0dD8GxyvYmr28rkQ6BmQ==:",
    ] {
        assert_eq!(keys.decrypt(changed), refused, "{changed}");
    }
    assert_eq!(keyring(OTHER_KEY, &[]).decrypt(VECTORS[0].1), Err(DecryptionError::NotAuthentic { keys: 1 }));
}

#[test]
fn what_has_another_form_is_no_ciphertext() {
    let keys = keyring(KEY, &[]);
    for other in ["", "hunter2", "::", "a:b:c", "AAECAwQFBgcICQo=:2Q0dD8GxyvYmr28rkQ6BmQ==:L3e4b6CX8A=="] {
        assert_eq!(keys.decrypt(other), Err(DecryptionError::Malformed), "{other}");
        assert_eq!(keys.needs_reencryption(other), Err(DecryptionError::Malformed), "{other}");
    }
}

#[test]
fn a_ciphertext_of_bytes_that_are_no_text_is_an_error() {
    // `ff fe`, by Python's `cryptography` with the first key and the IV of twelve sevens.
    let bytes = "BwcHBwcHBwcHBwcH:FUrtxotbFLgeF1D0KswVTw==:8JQ=";
    assert_eq!(keyring(KEY, &[]).decrypt(bytes), Err(DecryptionError::NotText));
}

#[test]
fn a_key_is_64_hexadecimal_digits() {
    let current = KeyRole::Current;
    assert_eq!(Keyring::parse("", "").unwrap_err(), KeyError::Missing(current));
    assert_eq!(Keyring::parse("  ", KEY).unwrap_err(), KeyError::Missing(current));
    assert_eq!(Keyring::parse(&KEY[1..], "").unwrap_err(), KeyError::Length { role: current, characters: 63 });
    assert_eq!(Keyring::parse(&format!("{KEY}0"), "").unwrap_err(), KeyError::Length { role: current, characters: 65 });
    assert_eq!(Keyring::parse(&KEY.replace('0', "g"), "").unwrap_err(), KeyError::NotHexadecimal(current));
    assert_eq!(Keyring::parse(&"ü".repeat(64), "").unwrap_err(), KeyError::NotHexadecimal(current));
    let bad = Keyring::parse(KEY, &format!(" , {OTHER_KEY} ,, 12 ")).unwrap_err();
    assert_eq!(bad, KeyError::Length { role: KeyRole::Previous(4), characters: 2 });
    assert_eq!(bad.to_string(), "previous encryption key 4 has 2 characters; it must have 64 hexadecimal digits (32 bytes)");
    let tolerated = Keyring::parse(&format!(" {KEY}\n"), &format!(",{} , ,{THIRD_KEY},", OTHER_KEY.to_uppercase())).unwrap();
    assert_eq!(tolerated.previous.len(), 2);
    assert_eq!(tolerated.decrypt(VECTORS[1].1).unwrap().as_str(), VECTORS[1].2);
}

#[test]
fn debug_shows_no_key() {
    let text = format!("{:?}", keyring(KEY, &[OTHER_KEY]));
    assert_eq!(text, "Keyring { current: EncryptionKey(..), previous: [EncryptionKey(..)] }");
}

#[test]
fn equal_texts_have_different_ivs() {
    let keys = keyring(KEY, &[]);
    let ivs: std::collections::BTreeSet<String> =
        (0..100).map(|_| keys.encrypt("same").unwrap().split(':').next().unwrap().to_owned()).collect();
    assert_eq!(ivs.len(), 100);
}

proptest! {
    #[test]
    fn decryption_undoes_encryption(plaintext in any::<String>()) {
        let keys = keyring(KEY, &[]);
        let ciphertext = keys.encrypt(&plaintext).unwrap();
        prop_assert!(is_encrypted(&ciphertext));
        prop_assert!(plaintext.len() < 4 || !ciphertext.contains(&plaintext));
        prop_assert_eq!(keys.decrypt(&ciphertext).unwrap().to_string(), plaintext);
        prop_assert_eq!(keys.needs_reencryption(&ciphertext), Ok(false));
    }

    #[test]
    fn any_change_of_a_byte_is_noticed(plaintext in ".{1,20}", place in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let keys = keyring(KEY, &[OTHER_KEY]);
        let mut changed: Ciphertext = keys.encrypt(&plaintext).unwrap().parse().unwrap();
        let length = 28 + changed.content.len();
        match place.index(length) {
            at @ 0..12 => changed.iv[at] ^= 1 << bit,
            at @ 12..28 => changed.tag[at - 12] ^= 1 << bit,
            at => changed.content[at - 28] ^= 1 << bit,
        }
        prop_assert_eq!(keys.decrypt(&changed.to_string()), Err(DecryptionError::NotAuthentic { keys: 2 }));
    }

    #[test]
    fn after_a_rotation_all_is_readable_until_the_old_key_goes(plaintext in any::<String>()) {
        let (old, new) = (keyring(KEY, &[]), keyring(OTHER_KEY, &[]));
        let rotating = keyring(OTHER_KEY, &[THIRD_KEY, KEY]);
        let before = old.encrypt(&plaintext).unwrap();
        prop_assert_eq!(rotating.needs_reencryption(&before), Ok(true));
        prop_assert_eq!(new.decrypt(&before), Err(DecryptionError::NotAuthentic { keys: 1 }));
        let after = rotating.encrypt(&rotating.decrypt(&before).unwrap()).unwrap();
        prop_assert_eq!(rotating.needs_reencryption(&after), Ok(false));
        prop_assert_eq!(new.decrypt(&after).unwrap().to_string(), plaintext);
        prop_assert!(old.decrypt(&after).is_err());
    }
}
