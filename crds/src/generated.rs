//! Every file that is made from the types, for `crdgen` and for the test that finds drift.

use crate::definitions::{DefinitionError, definitions, yaml};
use crate::reference;

/// A file and where it belongs, from the root of the project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneratedFile {
    /// With `/` between folders.
    pub path: String,
    /// All of it.
    pub content: String,
}

/// All of them.
pub fn generate() -> Result<Vec<GeneratedFile>, DefinitionError> {
    let definitions = definitions()?;
    let mut files = Vec::new();
    for definition in &definitions {
        files.push(GeneratedFile { path: format!("crds/generated/{}.yaml", definition.spec.names.plural), content: yaml(definition)? });
    }
    files.push(GeneratedFile { path: "docs/reference/crds.md".into(), content: reference::crds(&definitions) });
    files.push(GeneratedFile { path: "docs/reference/conditions.md".into(), content: reference::conditions() });
    Ok(files)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::path::Path;

    #[test]
    fn what_is_checked_in_is_what_the_types_say() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for file in generate().unwrap() {
            let written = std::fs::read_to_string(root.join(&file.path)).unwrap_or_default();
            assert!(written == file.content, "{} differs from the types: run crdgen (make generate)", file.path);
        }
    }
}
