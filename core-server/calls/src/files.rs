//! Files in a call: `multipart/form-data` with a part `data`, which is `{"json": …, "meta": …, "maps": [[path…], …]}`, and parts `0`, `1`, …, each
//! of which is the file whose place in the input the entry of `maps` of its number names (platform facts §9.1).
//!
//! In the input a file is a description of it ([`description`]), which only this puts there: where the schema says `x-native-type: file` there is
//! one that was sent, and nowhere else. So limits on size and type are for the schema to say.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures::FutureExt as _;
use multer::{Constraints, Multipart, SizeLimit};
use serde_json::{Value, json};

use crate::contract::OfferedProcedure;
use crate::envelope::{self, Malformed};
use crate::error::{CallError, ErrorCode};
use crate::native_type::{self, NativeType};
use crate::schema::{Issue, PathSegment};

/// In one call.
pub const MAX_FILES: usize = 32;
/// Of the part `data`.
const MAX_DATA_BYTES: u64 = 1024 * 1024;
/// Of the header fields of a part.
const MAX_HEAD_BYTES: usize = 4 * 1024;
/// Of a file's name.
const MAX_NAME_BYTES: usize = 255;
/// Of the body, on the way to its parts.
const PIECE_BYTES: usize = 64 * 1024;
/// Of a file that does not say what it is (RFC 7578 §4.4).
const UNKNOWN_TYPE: &str = "application/octet-stream";
/// Fields that are more than that in JavaScript.
const FORBIDDEN: [&str; 3] = ["__proto__", "constructor", "prototype"];

/// A file that was sent with a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// As its sender calls it: data, and no path. None: it has no name.
    pub name: Option<String>,
    /// As its sender says.
    pub media_type: String,
    /// Whole.
    pub bytes: Bytes,
}

/// An input, and the files that it describes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Input {
    /// None: nothing at all.
    pub value: Option<Value>,
    /// By their numbers.
    pub files: Vec<File>,
    /// Where they are described, in the same order.
    places: Vec<Vec<PathSegment>>,
}

impl From<Option<Value>> for Input {
    fn from(value: Option<Value>) -> Self {
        Self { value, ..Self::default() }
    }
}

/// What stands in the input for the file of this number.
#[must_use]
pub fn description(number: usize, file: &File) -> Value {
    json!({ "file": number, "name": file.name, "type": file.media_type, "size": file.bytes.len() })
}

/// Whether a request has files.
#[must_use]
pub fn is_multipart(content_type: Option<&str>) -> bool {
    let essence = content_type.and_then(|content_type| content_type.split(';').next()).unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("multipart/form-data")
}

/// The input in a body of many parts.
///
/// # Errors
/// 400 when it is none, or files are missing or too many.
pub fn read(content_type: &str, body: &[u8]) -> Result<Input, CallError> {
    let Parts { data, numbered } = parts(content_type, body)?;
    let data = data.ok_or_else(|| malformed("there is no part 'data'"))?;
    let mut envelope: Value = serde_json::from_slice(&data).map_err(|error| malformed(&format!("the part 'data' is no JSON: {error}")))?;
    let maps = envelope.as_object_mut().and_then(|fields| fields.remove("maps")).unwrap_or_else(|| json!([]));
    let mut value = envelope::decode_value(envelope).map_err(|Malformed(problem)| malformed(&problem))?;
    let places = places(&maps, value.as_ref())?;
    let files = in_order(numbered, &places)?;
    for (number, (file, place)) in files.iter().zip(&places).enumerate() {
        // They were found before.
        if let Some(there) = value.as_mut().and_then(|value| at_mut(value, place)) {
            *there = description(number, file);
        }
    }
    Ok(Input { value, files, places })
}

/// The input as the procedure gets it: what the contract says, with files where it says so.
///
/// # Errors
/// 400 with the issues.
pub fn checked(procedure: &OfferedProcedure, input: Input) -> Result<Input, CallError> {
    let Input { value, files, places } = input;
    let value = procedure.checked_input(value)?;
    let wanted = match (&procedure.input, &value) {
        (Some(schema), Some(value)) => native_type::places(schema.json(), value),
        _ => Vec::new(),
    };
    let wanted: BTreeSet<Vec<PathSegment>> =
        wanted.into_iter().filter(|(native, _)| *native == NativeType::File).map(|(_, place)| place).collect();
    let sent: BTreeSet<Vec<PathSegment>> = places.iter().cloned().collect();
    let missing = wanted.difference(&sent).map(|place| issue(place, "it has to be a file, which is a part of its own"));
    let more = sent.difference(&wanted).map(|place| issue(place, "there is no file here"));
    let issues: Vec<Issue> = missing.chain(more).collect();
    if issues.is_empty() { Ok(Input { value, files, places }) } else { Err(CallError::invalid_input(&issues)) }
}

fn issue(path: &[PathSegment], message: &str) -> Issue {
    Issue { code: "custom".to_owned(), path: path.to_vec(), message: message.to_owned() }
}

fn malformed(problem: &str) -> CallError {
    CallError::with_message(ErrorCode::BadRequest, Malformed(problem.to_owned()).to_string())
}

#[derive(Default)]
struct Parts {
    data: Option<Bytes>,
    /// With the number that each has.
    numbered: Vec<(usize, File)>,
}

/// The body is in memory: nothing is waited for.
fn parts(content_type: &str, body: &[u8]) -> Result<Parts, CallError> {
    let boundary = multer::parse_boundary(content_type).map_err(|_| malformed("the content type names no boundary"))?;
    let limits = Constraints::new().size_limit(SizeLimit::new().for_field("data", MAX_DATA_BYTES));
    let pieces = body.chunks(PIECE_BYTES).map(|piece| Ok::<Bytes, std::convert::Infallible>(Bytes::copy_from_slice(piece)));
    let stream = futures::stream::iter(pieces);
    let reading = read_parts(Multipart::with_constraints(stream, boundary, limits));
    reading.now_or_never().unwrap_or_else(|| Err(malformed("the body of many parts ends early")))
}

async fn read_parts(mut multipart: Multipart<'_>) -> Result<Parts, CallError> {
    let refused = |error: multer::Error| match error {
        multer::Error::FieldSizeExceeded { .. } => malformed(&format!("the part 'data' may have {MAX_DATA_BYTES} bytes")),
        _ => malformed("the body is not of many parts, or one of them is not as it should be"),
    };
    let mut parts = Parts::default();
    while let Some(mut field) = multipart.next_field().await.map_err(refused)? {
        let head: usize = field.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if head > MAX_HEAD_BYTES {
            return Err(malformed(&format!("the header fields of a part may have {MAX_HEAD_BYTES} bytes")));
        }
        let name = field.name().unwrap_or_default().to_owned();
        let file_name = field.file_name().map(str::to_owned);
        if file_name.as_ref().is_some_and(|name| name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control)) {
            return Err(malformed(&format!("the name of a file has up to {MAX_NAME_BYTES} bytes, and no control characters")));
        }
        let media_type = field.content_type().map_or_else(|| UNKNOWN_TYPE.to_owned(), ToString::to_string);
        let mut bytes = Bytes::new();
        while let Some(chunk) = field.chunk().await.map_err(refused)? {
            // All of it is in one.
            bytes = if bytes.is_empty() { chunk } else { [bytes, chunk].concat().into() };
        }
        match number(&name) {
            _ if name == "data" && parts.data.is_none() => parts.data = Some(bytes),
            Some(number) if parts.numbered.iter().all(|(other, _)| *other != number) => {
                parts.numbered.push((number, File { name: file_name, media_type, bytes }));
            }
            _ => return Err(malformed("the parts are 'data', '0', '1' and so on, each of them once, and 32 files at most")),
        }
    }
    Ok(parts)
}

/// As it is written by who counts.
fn number(name: &str) -> Option<usize> {
    name.parse().ok().filter(|number: &usize| number.to_string() == name && *number < MAX_FILES)
}

/// Where files belong, by their numbers: what is there in the input is empty, and each place is another.
fn places(maps: &Value, input: Option<&Value>) -> Result<Vec<Vec<PathSegment>>, CallError> {
    let maps = maps.as_array().filter(|maps| maps.len() <= MAX_FILES);
    let maps = maps.ok_or_else(|| malformed("'maps' is not an array of 32 paths at most"))?;
    let mut places = Vec::with_capacity(maps.len());
    for path in maps {
        let place = path.as_array().and_then(|path| place(path, input?));
        let place = place.ok_or_else(|| malformed("'maps' names a place that is not there, or not empty"))?;
        if places.contains(&place) {
            return Err(malformed("'maps' names a place twice"));
        }
        places.push(place);
    }
    Ok(places)
}

/// The way to a value that is nothing, `null` or `{}`, which is what JavaScript writes for a file.
fn place(path: &[Value], input: &Value) -> Option<Vec<PathSegment>> {
    let mut here = input;
    let mut place = Vec::with_capacity(path.len());
    for segment in path {
        here = match (here, segment) {
            (Value::Object(fields), Value::String(name)) if !FORBIDDEN.contains(&name.as_str()) => {
                place.push(PathSegment::Field(name.clone()));
                fields.get(name)?
            }
            (Value::Array(items), Value::Number(index)) => {
                let index = usize::try_from(index.as_u64()?).ok()?;
                place.push(PathSegment::Index(index));
                items.get(index)?
            }
            _ => return None,
        };
    }
    let is_empty = here.is_null() || here.as_object().is_some_and(serde_json::Map::is_empty);
    is_empty.then_some(place)
}

fn at_mut<'a>(value: &'a mut Value, place: &[PathSegment]) -> Option<&'a mut Value> {
    place.iter().try_fold(value, |value, segment| match segment {
        PathSegment::Field(name) => value.get_mut(name),
        PathSegment::Index(index) => value.get_mut(index),
    })
}

/// Each place has its file, and each file its place.
fn in_order(numbered: Vec<(usize, File)>, places: &[Vec<PathSegment>]) -> Result<Vec<File>, CallError> {
    let numbers: BTreeSet<usize> = numbered.iter().map(|(number, _)| *number).collect();
    let missing = places.iter().enumerate().filter(|(number, _)| !numbers.contains(number));
    let missing = missing.map(|(number, place)| issue(place, &format!("its file is missing: there is no part '{number}'")));
    let more = numbers.iter().filter(|number| **number >= places.len());
    let more = more.map(|number| issue(&[], &format!("nothing refers to the part '{number}'")));
    let issues: Vec<Issue> = missing.chain(more).collect();
    if !issues.is_empty() {
        return Err(CallError::invalid_input(&issues));
    }
    let mut numbered = numbered;
    numbered.sort_by_key(|(number, _)| *number);
    Ok(numbered.into_iter().map(|(_, file)| file).collect())
}

#[cfg(test)]
mod tests;
