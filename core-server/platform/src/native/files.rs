//! Files in the inputs of native procedures.

use std::borrow::Cow;

use checkstack_calls::error::{CallError, ErrorCode};
use checkstack_calls::files::File;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use super::Caller;

/// A field of an input that is a file. `#[schemars(extend("properties" = …))]` on the field says what its `size`, in bytes, and its `type` may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct SentFile {
    file: usize,
}

impl SentFile {
    /// The file. Its name and type are what its sender says.
    ///
    /// # Errors
    /// 400 when the call came without it, which the platform does not let through.
    pub fn of<'a>(&self, caller: &'a Caller) -> Result<&'a File, CallError> {
        caller.files.get(self.file).ok_or_else(|| CallError::with_message(ErrorCode::BadRequest, "a file is missing"))
    }
}

impl JsonSchema for SentFile {
    fn schema_name() -> Cow<'static, str> {
        "File".into()
    }

    /// So that a field can say more about its own.
    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "x-native-type": "file" })
    }
}
