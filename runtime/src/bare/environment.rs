//! The environment as programs see and change it.
//!
//! The system's own table is not safe to change once there are threads, so it is copied when it is first asked for; subprocesses get the copy.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    sync::LazyLock,
};

use parking_lot::Mutex;

static VARIABLES: LazyLock<Mutex<BTreeMap<OsString, OsString>>> =
    LazyLock::new(|| Mutex::new(std::env::vars_os().collect()));

/// What programs have set.
static OWN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// True when a program has set the variable.
pub(crate) fn is_own(name: &str) -> bool {
    OWN.lock().contains(name)
}

/// The names of all variables that are text.
pub(crate) fn names() -> Vec<String> {
    VARIABLES
        .lock()
        .keys()
        .filter_map(|name| name.to_str().map(str::to_owned))
        .collect()
}

/// The value; what is not text in it is replaced.
pub(crate) fn get(name: &str) -> Option<String> {
    VARIABLES
        .lock()
        .get(OsStr::new(name))
        .map(|value| value.to_string_lossy().into_owned())
}

/// Changes a variable, or removes it.
pub(crate) fn set(name: &str, value: Option<&str>) {
    if value.is_some() {
        OWN.lock().insert(name.to_owned());
    }
    let mut variables = VARIABLES.lock();
    match value {
        Some(value) => variables.insert(name.into(), value.into()),
        None => variables.remove(OsStr::new(name)),
    };
}
