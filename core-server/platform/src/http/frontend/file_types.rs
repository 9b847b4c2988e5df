//! What the name of a file says: its type, and whether its content can ever change.

/// The media type of a file, from a closed list; what is not on it is bytes, which browsers neither run nor show.
pub(super) fn content_type(path: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or(path);
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension).to_ascii_lowercase();
    match extension.as_str() {
        "html" | "htm" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "txt" | "md" => "text/plain; charset=utf-8",
        "xml" => "application/xml",
        "wasm" => "application/wasm",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "ico" => "image/x-icon",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "ttf" => "font/ttf",
        "otf" => "font/otf",
        "mp3" => "audio/mpeg",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        "pdf" => "application/pdf",
        _ => "application/octet-stream",
    }
}

/// How long browsers and proxies may keep a file without asking.
pub(super) fn cache_control(path: &str) -> &'static str {
    if is_named_by_its_content(path) { "public, max-age=31536000, immutable" } else { "no-cache" }
}

/// Whether the last part of the name, before the extension, is the hash of the content, as build tools write it: `index-B1xZ9_ab.js`,
/// `main.0a1b2c3d.css`. In case of doubt it is not: to ask again is cheap, a file that is kept too long is not.
fn is_named_by_its_content(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let name = name.strip_suffix(".map").unwrap_or(name);
    let Some((stem, _)) = name.rsplit_once('.') else { return false };
    let Some((before, hash)) = stem.rsplit_once(['-', '.']) else { return false };
    let has = |is: fn(&u8) -> bool| hash.as_bytes().iter().any(is);
    let is_mixed = has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase);
    let is_hexadecimal = hash.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)) && has(u8::is_ascii_lowercase);
    !before.is_empty()
        && (8..=64).contains(&hash.len())
        && hash.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && has(u8::is_ascii_digit)
        && (is_mixed || is_hexadecimal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_the_type_of_its_extension_and_others_are_bytes() {
        for (path, expected) in [
            ("assets/index-B1xZ9_ab.js", "text/javascript; charset=utf-8"),
            ("a.MJS", "text/javascript; charset=utf-8"),
            ("index.js.map", "application/json"),
            ("logo.svg", "image/svg+xml"),
            ("plugin.wasm", "application/wasm"),
            ("LICENSE", "application/octet-stream"),
            ("folder.js/file", "application/octet-stream"),
            ("run.php", "application/octet-stream"),
        ] {
            assert_eq!(content_type(path), expected, "{path}");
        }
    }

    #[test]
    fn only_what_is_named_by_its_content_is_kept_without_asking() {
        for path in ["assets/index-B1xZ9_ab.js", "main.0a1b2c3d.css", "index-B1xZ9_ab.js.map", "assets/font.0123456789abcdef.woff2"] {
            assert!(cache_control(path).contains("immutable"), "{path}");
        }
        for path in [
            "index.html",
            "favicon.ico",
            "assets/my-component.js",
            "assets/photo-20240101.png",
            "assets/release-v20240101.js",
            "assets/index-AbCdEfGh.js",
            "-0a1b2c3d.css",
            "a-0a1b2c.css",
            "0a1b2c3d",
        ] {
            assert_eq!(cache_control(path), "no-cache", "{path}");
        }
    }
}
