//! What is printed, where, and that it does no harm to a terminal.

use std::fmt;
use std::io::{self, Write as _};

use serde::Serialize;

/// Everything that is wrong with what the user gave: printed one below the other.
#[derive(Debug)]
pub(crate) struct Problems(pub(crate) Vec<String>);

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Problems {}

/// Prints to standard output. Who reads only the beginning (`| head`) makes no error.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}

/// Prints `value` as JSON.
pub(crate) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    print(&format!("{}\n", serde_json::to_string_pretty(value)?))
}

/// Prints an error, or each of several, on a line of its own.
pub(crate) fn print_error(error: &anyhow::Error) {
    let lines = match error.downcast_ref::<Problems>() {
        Some(Problems(problems)) => problems.clone(),
        None => vec![format!("{error:#}")],
    };
    let mut output = io::stderr().lock();
    for line in lines {
        // There is nowhere left to say that standard error is closed.
        let _ = writeln!(output, "error: {}", printable(&line));
    }
}

/// A table of names and values; a name may have several values, below each other.
#[derive(Default)]
pub(crate) struct Table(Vec<(&'static str, Vec<String>)>);

impl Table {
    pub(crate) fn row(&mut self, name: &'static str, value: impl fmt::Display) {
        self.rows(name, [value.to_string()]);
    }

    /// A name without values gets no row.
    pub(crate) fn rows(&mut self, name: &'static str, values: impl IntoIterator<Item = String>) {
        let values: Vec<String> = values.into_iter().collect();
        if !values.is_empty() {
            self.0.push((name, values));
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        for (name, values) in &self.0 {
            let mut name = *name;
            for value in values {
                writeln!(formatter, "{name:width$}  {}", printable(value))?;
                name = "";
            }
        }
        Ok(())
    }
}

/// Foreign text on one line, without what a terminal would obey.
fn printable(text: &str) -> String {
    text.chars()
        .map(|character| if character.is_control() { character.escape_default().to_string() } else { character.to_string() })
        .collect()
}
