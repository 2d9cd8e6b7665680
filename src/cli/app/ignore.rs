//! What is left out when a project is staged. Source: Pear 2.x, `subsystems/sidecar/ops/stage.js`.

use pome_drive_fs::Ignore;

/// Always left out.
const ALWAYS: [&str; 4] = [
    "**.git",
    "**.github",
    "**.DS_Store",
    "node_modules/.package-lock.json",
];

/// The rules of a project: paths, which take along what is below them; globs, in which `*` stops at `/` and `**` does not; and `!` in front of what is not
/// left out after all.
pub(super) fn rules(given: &[String]) -> Ignore {
    let (mut out, mut back_in) = (Vec::new(), Vec::new());
    for rule in ALWAYS.into_iter().chain(given.iter().map(String::as_str)) {
        let rule = rule.trim();
        match rule.strip_prefix('!') {
            Some(rule) => back_in.push(Rule::new(rule)),
            None => out.push(Rule::new(rule)),
        }
    }
    Ignore::test(move |path| {
        let path = path.trim_start_matches('/');
        let stays = back_in
            .iter()
            .any(|rule| rule.covers(path) || rule.is_below(path));
        !stays && out.iter().any(|rule| rule.covers(path))
    })
}

/// One of them, without slashes around it.
struct Rule(String);

impl Rule {
    fn new(text: &str) -> Self {
        Self(text.trim_matches('/').to_owned())
    }

    /// The path matches, or lies below something that does.
    fn covers(&self, path: &str) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let ends = path.match_indices('/').map(|(at, _)| at);
        let mut ends = ends.chain(std::iter::once(path.len()));
        ends.any(|end| matches(&self.0, &path[..end]))
    }

    /// The rule is about something below the path.
    fn is_below(&self, path: &str) -> bool {
        let plain = self.0.split('*').next().unwrap_or_default();
        match plain.strip_prefix(path) {
            Some(rest) => rest.starts_with('/'),
            // A glob may be about anything below the folder where it begins.
            None => self.0.contains('*') && path.starts_with(plain),
        }
    }
}

fn matches(glob: &str, text: &str) -> bool {
    let Some(star) = glob.find('*') else {
        return glob == text;
    };
    let (before, rest) = glob.split_at(star);
    let Some(text) = text.strip_prefix(before) else {
        return false;
    };
    let (rest, deep) = match rest.strip_prefix("**") {
        Some(rest) => (rest, true),
        None => (&rest[1..], false),
    };
    // `*` is something, `**` may be nothing.
    let first = usize::from(!deep);
    let ends = (0..=text.len()).filter(|end| text.is_char_boundary(*end));
    for end in ends.filter(|end| *end >= first) {
        if !deep && text[..end].contains('/') {
            return false;
        }
        if matches(rest, &text[end..]) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_as_pear_has_them() {
        let given = [
            "/dist/",
            "*.log",
            "docs/*.md",
            "deep/**.tmp",
            "lib",
            "!lib/kept.js",
        ];
        let ignore = rules(&given.map(str::to_owned));
        for (path, out) in [
            ("/index.js", false),
            ("/.git/HEAD", true),
            ("/sub/.git/HEAD", true),
            ("/.gitignore", false),
            ("/.DS_Store", true),
            ("/a/.DS_Store", true),
            ("/node_modules/.package-lock.json", true),
            ("/node_modules/a/index.js", false),
            ("/dist", true),
            ("/dist/a/b", true),
            ("/distant", false),
            ("/x.log", true),
            ("/a/x.log", false),
            ("/docs/a.md", true),
            ("/docs/b/a.md", false),
            ("/deep/a/b.tmp", true),
            ("/lib", false),
            ("/lib/kept.js", false),
            ("/lib/other.js", true),
        ] {
            assert_eq!(ignore.matches(path), out, "{path}");
        }
    }
}
