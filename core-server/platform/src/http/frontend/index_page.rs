//! `index.html` of the web UI, with what it has to know before its first script (platform facts §1.9).

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::Serialize;

use super::files::tag;
use super::representation::Representation;

/// A page, cut where the script is put in.
#[derive(Debug)]
pub(super) struct IndexPage {
    before: String,
    after: String,
}

/// The page as it is sent now.
pub(super) struct Rendered {
    pub(super) page: Representation,
    /// `Content-Security-Policy`: this one inline script may run, no other.
    pub(super) policy: String,
}

impl IndexPage {
    /// Of the content of the file, which has to be UTF-8.
    pub(super) fn new(content: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(content).ok()?;
        let (before, after) = text.split_at_checked(first_script(text))?;
        Some(Self { before: before.to_owned(), after: after.to_owned() })
    }

    /// With this for the scripts of the page to read.
    pub(super) fn render(&self, bootstrap: &impl Serialize) -> Result<Rendered, serde_json::Error> {
        let script = script(bootstrap)?;
        let hash = BASE64_STANDARD.encode(digest(&SHA256, script.as_bytes()));
        let content = format!("{}<script>{script}</script>{}", self.before, self.after);
        let page = Representation {
            tag: tag(content.as_bytes()),
            content: Bytes::from(content),
            coded: Vec::new(),
            content_type: "text/html; charset=utf-8",
            cache_control: "no-cache",
        };
        Ok(Rendered { page, policy: policy(&format!("'self' 'sha256-{hash}'")) })
    }
}

/// What a page of the web UI may load: its own files, and its own instance.
pub(super) fn policy(scripts: &str) -> String {
    format!(
        "default-src 'self'; script-src {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; \
         object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
    )
}

/// JSON in a script: a text with `</script>` or `<!--` in it must not end the script, nor the two line separators a line.
fn script(bootstrap: &impl Serialize) -> Result<String, serde_json::Error> {
    let json = serde_json::to_string(bootstrap)?;
    let json = json.replace('<', "\\u003c").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029");
    Ok(format!("window.__CHECKSTACK_BOOTSTRAP__={json};"))
}

/// Where the first script of a page begins, those in comments not among them; without one, where its head or everything ends.
fn first_script(page: &str) -> usize {
    // Offsets are the same: only ASCII letters change.
    let lower = page.to_ascii_lowercase();
    let find = |from: usize, what: &str| lower.get(from..).and_then(|rest| rest.find(what)).map(|at| from + at);
    let mut from = 0;
    loop {
        let Some(script) = find(from, "<script") else { return find(from, "</head").unwrap_or(page.len()) };
        match find(from, "<!--").filter(|comment| *comment < script) {
            Some(comment) => from = find(comment, "-->").unwrap_or(page.len()),
            None => return script,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn rendered(page: &str, bootstrap: &Value) -> (String, String) {
        let Rendered { page, policy } = IndexPage::new(page.as_bytes()).unwrap().render(bootstrap).unwrap();
        (String::from_utf8(page.content.to_vec()).unwrap(), policy)
    }

    #[test]
    fn the_script_comes_before_the_first_other_one() {
        let at = |page: &str| rendered(page, &json!(1)).0.find("<script>window.__CHECKSTACK_BOOTSTRAP__=1;</script>").unwrap();
        let page = "<!doctype html><head><!-- <script> --><SCRIPT type=module src=/a.js></SCRIPT></head>";
        assert_eq!(at(page), page.find("<SCRIPT").unwrap());
        assert_eq!(at("<head><title>é</title></head><body>"), "<head><title>é</title>".len());
        assert_eq!(at("text"), 4);
        assert_eq!(at("<!-- <script>"), 13);
        assert!(IndexPage::new(b"\xff").is_none());
    }

    #[test]
    fn the_policy_permits_this_script_and_the_tag_is_of_the_whole() {
        let page = "<script src=/a.js></script>";
        let (content, policy) = rendered(page, &json!({ "name": "a" }));
        let hash = BASE64_STANDARD.encode(digest(&SHA256, br#"window.__CHECKSTACK_BOOTSTRAP__={"name":"a"};"#));
        assert!(content.starts_with(r#"<script>window.__CHECKSTACK_BOOTSTRAP__={"name":"a"};</script><script src"#), "{content}");
        assert!(policy.contains(&format!("script-src 'self' 'sha256-{hash}';")), "{policy}");
        let tag = |bootstrap: Value| IndexPage::new(page.as_bytes()).unwrap().render(&bootstrap).unwrap().page.tag;
        assert_eq!(tag(json!(1)), tag(json!(1)));
        assert_ne!(tag(json!(1)), tag(json!(2)));
    }

    proptest! {
        /// Whatever a plugin is called.
        #[test]
        fn nothing_in_the_data_ends_the_script(text in "(</script>|<!--|<|-->|\u{2028}|[a-z\"\\\\]){0,12}") {
            let (content, _) = rendered("", &json!(text));
            let script = content.strip_prefix("<script>window.__CHECKSTACK_BOOTSTRAP__=").unwrap().strip_suffix(";</script>").unwrap();
            prop_assert!(!script.contains('<') && !script.contains('\u{2028}'), "{}", script);
            prop_assert_eq!(serde_json::from_str::<String>(script).unwrap(), text);
        }
    }
}
