//! Where a mount answers otherwise than a disk, and why.

/// The beginning of the cases' names, and the reason.
const EXCEPTIONS: &[(&str, &str)] = &[
    (
        "links: O_TMPFILE and linkat",
        "the library that speaks with the kernel does not know this request; programs fall back on a name",
    ),
    (
        "rename: RENAME_WHITEOUT",
        "only overlay filesystems ask for it, which do not stack on a mount",
    ),
    (
        "holes: fallocate COLLAPSE_RANGE",
        "the kernel does not pass it on",
    ),
    (
        "holes: fallocate INSERT_RANGE",
        "the kernel does not pass it on",
    ),
    (
        "xattrs: no access list there",
        "there are none, and programs are told so",
    ),
    (
        "statfs: a folder counts its folders",
        "1 says that it does not, as on btrfs",
    ),
    (
        "folders: a name with a backslash",
        "a drive takes it for a slash",
    ),
    (
        "folders: a name that is not UTF-8",
        "a drive's paths are text",
    ),
];

/// The exception that a case falls under: its place in the list, and the reason.
pub(crate) fn of(case: &str) -> Option<(&'static str, &'static str)> {
    EXCEPTIONS
        .iter()
        .find(|(beginning, _)| case.starts_with(beginning))
        .copied()
}

/// Those that no case needed.
pub(crate) fn unused(used: &[&str]) -> Vec<&'static str> {
    let all = EXCEPTIONS.iter().map(|(beginning, _)| *beginning);
    all.filter(|beginning| !used.contains(beginning)).collect()
}
