//! Rules for single values. An error says what the value must be.

/// npm's rule for new names. It keeps a name from ever being a path.
pub(super) fn check_package_name(name: &str) -> Result<(), String> {
    let is_part = |part: &str, first: &[u8]| {
        part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._~".contains(&byte))
            && part.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || first.contains(&byte))
    };
    let valid = match name.strip_prefix('@') {
        Some(scoped) => scoped.split_once('/').is_some_and(|(scope, name)| is_part(scope, b"-~") && is_part(name, b"-~_")),
        None => is_part(name, b"-~"),
    };
    match valid && name.len() <= 214 {
        true => Ok(()),
        false => Err(format!("must be an npm package name such as @acme/widget-backend, not '{}'", shown(name))),
    }
}

pub(super) fn check_version(version: &str) -> Result<(), String> {
    let invalid = || format!("must be a semantic version such as 1.2.3, not '{}'", shown(version));
    // Both readers: ours compares versions, npm's decides whether a range contains one.
    semver::Version::parse(version).map_err(|_| invalid())?;
    node_semver::Version::parse(version).map_err(|_| invalid())?;
    Ok(())
}

pub(super) fn check_url(url: &str) -> Result<(), String> {
    url::Url::parse(url).map(|_| ()).map_err(|_| format!("must be a URL, not '{}'", shown(url)))
}

pub(super) fn check_email(email: &str) -> Result<(), String> {
    let valid = email.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty()
            && !domain.contains('@')
            && domain.split('.').count() >= 2
            && domain.split('.').all(|label| !label.is_empty())
            && !email.contains(|character: char| character.is_whitespace() || character.is_control())
    });
    valid.then_some(()).ok_or_else(|| format!("must be a mail address, not '{}'", shown(email)))
}

/// A path within the package: `dist/plugin.wasm`.
pub(super) fn check_path(path: &str) -> Result<(), String> {
    let plain = |segment: &str| !matches!(segment, "" | "." | "..");
    let valid =
        plain_path(path.to_owned()).split('/').all(plain) && !path.contains(|character: char| character == '\\' || character.is_control());
    valid.then_some(()).ok_or_else(|| format!("must be a path within the package such as dist/plugin.wasm, not '{}'", shown(path)))
}

/// The same path without what authors add out of habit: `./migrations/` is `migrations`.
pub(super) fn plain_path(path: String) -> String {
    let path = path.strip_prefix("./").unwrap_or(&path);
    path.strip_suffix('/').unwrap_or(path).to_owned()
}

/// Foreign text in a message: short, on one line.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}
