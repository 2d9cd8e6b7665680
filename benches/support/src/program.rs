//! What the programs that measure for a proof have in common: they keep their numbers as JSON, and make a page of them.

use serde::{Serialize, de::DeserializeOwned};
use std::{fs, path::Path};

/// Measures, keeps the numbers in `json` where that is a file, and prints the page that is made of them; or only prints the page of the numbers in `render`.
///
/// # Errors
/// Those of the measurement, and of the files.
pub fn measure_or_render<M, E>(
    json: Option<&Path>,
    render: Option<&Path>,
    measure: impl FnOnce() -> Result<M, E>,
    page: impl Fn(&M) -> String,
) -> Result<(), E>
where
    M: Serialize + DeserializeOwned,
    E: From<std::io::Error> + From<serde_json::Error>,
{
    let measured = match render {
        Some(file) => serde_json::from_slice(&fs::read(file)?)?,
        None => measure()?,
    };
    if let Some(file) = json {
        keep(file, &measured)?;
    }
    print!("{}", page(&measured));
    Ok(())
}

/// Writes numbers to a file.
///
/// # Errors
/// When the file cannot be written.
pub fn keep(file: &Path, measured: &impl Serialize) -> std::io::Result<()> {
    fs::write(file, serde_json::to_string_pretty(measured)? + "\n")
}
