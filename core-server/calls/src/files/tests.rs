use proptest::prelude::*;

use super::*;
use crate::contract::{Contract, Offer};

const TYPE: &str = "multipart/form-data; boundary=X";

/// A body of these parts: header fields, and what follows.
fn body(parts: &[(&str, &str)]) -> Bytes {
    let parts: String = parts.iter().map(|(head, content)| format!("--X\r\n{head}\r\n\r\n{content}\r\n")).collect();
    format!("{parts}--X--\r\n").into()
}

const DATA: &str = "Content-Disposition: form-data; name=\"data\"";
const LOGO: &str = "Content-Disposition: form-data; name=\"0\"; filename=\"logo.png\"\r\nContent-Type: image/png";
const PLAIN: &str = "Content-Disposition: form-data; name=\"1\"";

fn said(parts: &[(&str, &str)]) -> String {
    let error = read(TYPE, &body(parts)).unwrap_err();
    assert_eq!(error.code, ErrorCode::BadRequest);
    match error.data {
        Some(data) => data["issues"].to_string(),
        None => error.message.unwrap(),
    }
}

fn offer() -> Offer {
    let file = json!({ "x-native-type": "file", "type": "object", "properties": { "size": { "maximum": 8 }, "type": { "enum": ["image/png", UNKNOWN_TYPE] } } });
    let input = json!({ "$defs": { "File": file }, "properties": { "logo": { "$ref": "#/$defs/File" }, "more": { "items": { "$ref": "#/$defs/File" } }, "note": {} } });
    let contract = json!({ "procedures": { "upload": { "operation": "mutation", "input": input } } });
    serde_json::from_value::<Contract>(contract).unwrap().native_offer("catalog".parse().unwrap()).unwrap()
}

fn input(parts: &[(&str, &str)]) -> Result<Input, String> {
    let read = read(TYPE, &body(parts)).unwrap();
    checked(&offer().procedures["upload"], read).map_err(|error| error.data.unwrap()["issues"].to_string())
}

/// As a browser sends it.
#[test]
fn a_file_is_a_part_and_its_place_has_a_description() {
    let sent = b"------WebKitFormBoundaryA\r\nContent-Disposition: form-data; name=\"data\"\r\n\r\n\
        {\"json\":{\"logo\":{},\"more\":[null],\"note\":\"a\",\"at\":\"2026-01-01T00:00:00.000Z\"},\"meta\":[[1,\"at\"]],\"maps\":[[\"logo\"],[\"more\",0]]}\r\n\
        ------WebKitFormBoundaryA\r\nContent-Disposition: form-data; name=\"1\"; filename=\"\xc3\xbcber.txt\"\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\
        a\r\n--b\0\xff\r\n\
        ------WebKitFormBoundaryA\r\nContent-Disposition: form-data; name=\"0\"\r\n\r\n\r\n\
        ------WebKitFormBoundaryA--\r\n";
    let Input { value, files, .. } = read("Multipart/Form-Data; boundary=----WebKitFormBoundaryA", &Bytes::from_static(sent)).unwrap();
    let nothing = File { name: None, media_type: UNKNOWN_TYPE.into(), bytes: Bytes::new() };
    let text = File {
        name: Some("über.txt".into()),
        media_type: "text/plain; charset=utf-8".into(),
        bytes: Bytes::from_static(b"a\r\n--b\0\xff"),
    };
    assert_eq!(files, [nothing, text]);
    let expected = json!({
        "logo": { "file": 0, "name": null, "type": UNKNOWN_TYPE, "size": 0 },
        "more": [{ "file": 1, "name": "über.txt", "type": "text/plain; charset=utf-8", "size": 8 }],
        "note": "a", "at": "2026-01-01T00:00:00.000Z",
    });
    assert_eq!(value, Some(expected));
}

#[test]
fn an_input_can_be_a_file_or_have_none() {
    let whole = read(TYPE, &body(&[(DATA, r#"{"json":{},"maps":[[]]}"#), (LOGO, "png")])).unwrap();
    assert_eq!((whole.value.unwrap()["size"].as_u64(), whole.files.len()), (Some(3), 1));
    let none = read(TYPE, &body(&[(DATA, r#"{"json":{"note":1}}"#)])).unwrap();
    assert_eq!((none.value, none.files.len()), (Some(json!({ "note": 1 })), 0));
    assert_eq!(read(TYPE, &body(&[(DATA, "{}")])).unwrap(), Input::default());
}

#[test]
fn what_is_no_such_body_is_refused() {
    let malformed = |content_type: &str, body: &[u8]| read(content_type, &Bytes::copy_from_slice(body)).unwrap_err().message.unwrap();
    assert!(malformed("multipart/form-data", b"").ends_with("names no boundary"));
    for cut in ["", "--X", "--X\r\n", "--X\r\nContent-Disposition: form-data; name=\"data\"\r\n\r\n{}", "--Y--\r\n", "\0\0"] {
        assert!(malformed(TYPE, cut.as_bytes()).starts_with("Malformed request: "), "{cut}");
    }
    assert_eq!(malformed(TYPE, b"--X--\r\n"), "Malformed request: there is no part 'data'");
    assert!(said(&[(DATA, "{")]).starts_with("Malformed request: the part 'data' is no JSON"));
    assert!(said(&[(DATA, "[]")]).starts_with("Malformed request: the body is not an object"));
    assert!(said(&[(DATA, &format!("{{\"json\":\"{}\"}}", "x".repeat(1024 * 1024)))]).contains("may have 1048576 bytes"));
}

#[test]
fn each_part_is_there_once() {
    let names = "Malformed request: the parts are 'data', '0', '1' and so on, each of them once, and 32 files at most";
    let data = (DATA, r#"{"json":{"a":{}},"maps":[["a"]]}"#);
    assert_eq!(said(&[data, data]), names);
    assert_eq!(said(&[data, (LOGO, "a"), (LOGO, "b")]), names);
    for name in ["", "00", "+1", "-1", "32", "file", "DATA", "99999999999999999999"] {
        assert_eq!(said(&[data, (&format!("Content-Disposition: form-data; name=\"{name}\""), "a")]), names, "{name}");
    }
    assert_eq!(said(&[data, ("Content-Type: text/plain", "a")]), names);
    assert_eq!(said(&[data]), r#"[{"code":"custom","message":"its file is missing: there is no part '0'","path":["a"]}]"#);
    assert_eq!(said(&[data, (LOGO, "a"), (PLAIN, "b")]), r#"[{"code":"custom","message":"nothing refers to the part '1'","path":[]}]"#);
}

#[test]
fn heads_of_parts_are_bounded() {
    let data = (DATA, r#"{"json":{},"maps":[[]]}"#);
    assert!(said(&[data, (&format!("{LOGO}\r\nX-Long: {}", "x".repeat(5000)), "a")]).contains("may have 4096 bytes"));
    let many: String = (0..40).map(|number| format!("\r\nX-{number}: a")).collect();
    assert!(said(&[data, (&format!("{LOGO}{many}"), "a")]).starts_with("Malformed request"));
    for name in ["x".repeat(256), "a\tb".into()] {
        let head = format!("Content-Disposition: form-data; name=\"0\"; filename=\"{name}\"");
        assert!(said(&[data, (&head, "a")]).contains("the name of a file"), "{name}");
    }
}

#[test]
fn a_file_comes_only_where_there_is_room_for_it() {
    for (json, maps) in [
        (r#"{"a":{}}"#, r#"[["b"]]"#),
        (r#"{"a":{}}"#, r#"[["a","b"]]"#),
        (r#"{"a":{}}"#, r#"[["a"],["a","name"]]"#),
        (r#"{"a":1}"#, r#"[["a"]]"#),
        (r#"{"a":{"b":1}}"#, r#"[["a"]]"#),
        (r#"{"a":[{}]}"#, r#"[["a",1]]"#),
        (r#"{"a":[{}]}"#, r#"[["a","0"]]"#),
        (r#"{"a":[{}]}"#, r#"[["a",-1]]"#),
        (r#"{"a":[{}]}"#, r#"[["a",0.5]]"#),
        (r#"{"a":{}}"#, r#"[[0]]"#),
        (r#"{"a":{}}"#, r#"["a"]"#),
        (r#"{"a":{}}"#, r#"[[["a"]]]"#),
        (r#"{"__proto__":{}}"#, r#"[["__proto__"]]"#),
        (r#"{"constructor":{"prototype":{}}}"#, r#"[["constructor","prototype"]]"#),
    ] {
        let said = said(&[(DATA, &format!(r#"{{"json":{json},"maps":{maps}}}"#)), (LOGO, "a"), (PLAIN, "b")]);
        assert_eq!(said, "Malformed request: 'maps' names a place that is not there, or not empty", "{json} {maps}");
    }
    let places = |json: &str, maps: &str| said(&[(DATA, &format!(r#"{{"json":{json},"maps":{maps}}}"#))]);
    assert_eq!(places(r#"{"a":{}}"#, r#"[["a"],["a"]]"#), "Malformed request: 'maps' names a place twice");
    assert_eq!(places("{}", "{}"), "Malformed request: 'maps' is not an array of 32 paths at most");
    let many = vec![json!([]); 33];
    assert!(places("{}", &json!(many).to_string()).contains("32 paths at most"));
    assert!(said(&[(DATA, r#"{"maps":[[]]}"#)]).contains("not there"));
}

#[test]
fn files_are_where_the_schema_says() {
    let sent = input(&[(DATA, r#"{"json":{"logo":{},"more":[null]},"maps":[["logo"],["more",0]]}"#), (LOGO, "png"), (PLAIN, "b")]).unwrap();
    assert_eq!(sent.files.iter().map(|file| &file.bytes[..]).collect::<Vec<_>>(), [b"png", &b"b"[..]]);
    assert_eq!(
        input(&[(DATA, r#"{"json":{"note":{}},"maps":[["note"]]}"#), (LOGO, "a")]).unwrap_err(),
        r#"[{"code":"custom","message":"there is no file here","path":["note"]}]"#
    );
    // Whoever describes a file has not sent one.
    let forged = r#"{"json":{"logo":{},"more":[{"file":0,"name":"a","type":"image/png","size":1}]},"maps":[["logo"]]}"#;
    assert_eq!(
        input(&[(DATA, forged), (LOGO, "a")]).unwrap_err(),
        r#"[{"code":"custom","message":"it has to be a file, which is a part of its own","path":["more",0]}]"#
    );
    let offer = offer();
    let forged = checked(&offer.procedures["upload"], Some(json!({ "logo": { "file": 0 } })).into()).unwrap_err();
    assert_eq!(forged.message.as_deref(), Some("Input validation failed"));
    assert!(checked(&offer.procedures["upload"], Some(json!({ "note": 1 })).into()).is_ok());
    // What else a file has to be is for the schema to say.
    let logo = r#"{"json":{"logo":{}},"maps":[["logo"]]}"#;
    assert!(input(&[(DATA, logo), (LOGO, "123456789")]).unwrap_err().contains(r#""path":["logo","size"]"#));
    assert!(input(&[(DATA, logo), (&LOGO.replace("png", "gif"), "1")]).unwrap_err().contains(r#""path":["logo","type"]"#));
}

#[test]
fn the_essence_of_the_type_counts() {
    for (content_type, expected) in [
        (Some("multipart/form-data; boundary=X"), true),
        (Some("Multipart/Form-Data"), true),
        (Some("multipart/form-datax"), false),
        (Some("multipart/mixed; boundary=multipart/form-data"), false),
        (Some("application/json"), false),
        (None, false),
    ] {
        assert_eq!(is_multipart(content_type), expected, "{content_type:?}");
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(Value::Null), Just(json!({})), (-1..3).prop_map(Value::from), "[ab]".prop_map(Value::from)];
    leaf.prop_recursive(4, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[ab]|__proto__", inner, 0..4).prop_map(|fields| json!(fields)),
        ]
    })
}

proptest! {
    /// Whatever maps say: each place that is accepted is there, empty, and another.
    #[test]
    fn places_are_there_and_empty(input in any_json(), maps in any_json()) {
        if let Ok(places) = places(&maps, Some(&input)) {
            let mut there = input.clone();
            for place in &places {
                let value = at_mut(&mut there, place).unwrap();
                let is_empty = value.is_null() || *value == json!({});
                prop_assert!(is_empty);
                *value = json!("taken");
            }
            prop_assert_eq!(maps.as_array().map(Vec::len), Some(places.len()));
        }
    }

    /// Nothing that is sent makes it panic or wait.
    #[test]
    fn every_body_comes_to_an_end(noise in prop::collection::vec(prop_oneof![Just("--X".to_owned()), Just("\r\n".to_owned()), Just("--".to_owned()), Just(DATA.to_owned()), Just(LOGO.to_owned()), Just("{}".to_owned()), "[ -~]{0,5}"], 0..20)) {
        let body = Bytes::from(noise.concat());
        match read(TYPE, &body) {
            Ok(input) => prop_assert!(input.files.len() <= MAX_FILES),
            Err(error) => prop_assert_eq!(error.code, ErrorCode::BadRequest),
        }
    }

    #[test]
    fn what_is_sent_arrives(contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..5)) {
        let maps: Vec<Value> = (0..contents.len()).map(|number| json!([number])).collect();
        let data = json!({ "json": vec![json!({}); contents.len()], "maps": maps }).to_string();
        let mut body = format!("--boundary\r\n{DATA}\r\n\r\n{data}\r\n").into_bytes();
        for (number, content) in contents.iter().enumerate() {
            body.extend(format!("--boundary\r\nContent-Disposition: form-data; name=\"{number}\"\r\n\r\n").bytes());
            body.extend(content);
            body.extend(b"\r\n");
        }
        body.extend(b"--boundary--");
        let read = read("multipart/form-data; boundary=boundary", &body).unwrap();
        prop_assert_eq!(read.files.iter().map(|file| file.bytes.to_vec()).collect::<Vec<_>>(), contents);
    }
}
