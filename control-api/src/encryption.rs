//! The keys that secrets are encrypted with at rest, in the Secret `<instance>-encryption`: 64 hexadecimal digits each.

/// The key that encrypts.
pub const CURRENT_KEY_FILE: &str = "current";
/// The key that will, once every pod can decrypt with it; need not be there.
pub const NEXT_KEY_FILE: &str = "next";
/// Keys that only decrypt, with commas between; need not be there.
pub const PREVIOUS_KEYS_FILE: &str = "previous";
