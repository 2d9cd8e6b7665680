//! What a module exports, found by looking at its source alone: an `import` of CommonJS has to know the names before anything runs.
//!
//! This reads tokens, not a grammar. It finds `exports.a =`, `exports['a'] =`, `Object.defineProperty(exports, 'a'`, the keys of
//! `module.exports = { … }`, and the modules whose names are passed on: `module.exports = require('x')`, `...require('x')`, `__exportStar(require('x'))`.

/// The names of a CommonJS module, and the specifiers of those that it passes on.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) exports: Vec<String>,
    pub(crate) reexports: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Text(String),
    Mark(char),
}

use Token::{Mark, Text, Word};

/// Words after which a slash begins a regular expression.
const BEFORE_EXPRESSION: &[&str] = &[
    "return",
    "typeof",
    "instanceof",
    "in",
    "of",
    "new",
    "delete",
    "void",
    "throw",
    "case",
    "do",
    "else",
    "await",
    "yield",
];

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    tokens: Vec<Token<'a>>,
    /// For each `${` that is open, how many braces are open in it.
    templates: Vec<usize>,
}

impl<'a> Lexer<'a> {
    fn all(source: &'a str) -> Vec<Token<'a>> {
        let mut lexer = Self {
            source,
            at: 0,
            tokens: Vec::new(),
            templates: Vec::new(),
        };
        while lexer.step() {}
        lexer.tokens
    }

    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    fn skip_to(&mut self, end: &str) {
        self.at = match self.rest().find(end) {
            Some(found) => self.at + found + end.len(),
            None => self.source.len(),
        };
    }

    fn step(&mut self) -> bool {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return false;
        };
        if rest.starts_with("//") {
            self.skip_to("\n");
        } else if rest.starts_with("/*") {
            self.at += 2;
            self.skip_to("*/");
        } else if first.is_whitespace() {
            self.at += first.len_utf8();
        } else if is_word(first) {
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            self.tokens.push(Word(&rest[..end]));
            self.at += end;
        } else if first == '"' || first == '\'' {
            self.string(first);
        } else if first == '`' {
            self.at += 1;
            self.template();
        } else if first == '/' && self.expects_expression() {
            self.regular_expression();
        } else {
            self.mark(first);
        }
        true
    }

    fn mark(&mut self, mark: char) {
        self.at += mark.len_utf8();
        if let Some(open) = self.templates.last_mut() {
            match mark {
                '{' => *open += 1,
                '}' if *open == 0 => {
                    self.templates.pop();
                    self.template();
                    return;
                }
                '}' => *open -= 1,
                _ => {}
            }
        }
        self.tokens.push(Mark(mark));
    }

    fn expects_expression(&self) -> bool {
        match self.tokens.last() {
            None => true,
            Some(Word(word)) => BEFORE_EXPRESSION.contains(word),
            Some(Text(_)) => false,
            Some(Mark(mark)) => !matches!(mark, ')' | ']' | '}'),
        }
    }

    fn string(&mut self, quote: char) {
        let mut text = String::new();
        let mut chars = self.rest()[1..].char_indices();
        let mut end = self.source.len() - self.at - 1;
        while let Some((index, c)) = chars.next() {
            if c == quote {
                end = index + 1;
                break;
            }
            if c == '\n' {
                end = index;
                break;
            }
            match c {
                '\\' => match chars.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 't')) => text.push('\t'),
                    Some((_, '\n')) | None => {}
                    Some((_, other)) => text.push(other),
                },
                c => text.push(c),
            }
        }
        self.at += 1 + end;
        self.tokens.push(Text(text));
    }

    /// The text of a template up to its end or to a `${`.
    fn template(&mut self) {
        let mut chars = self.rest().char_indices().peekable();
        while let Some((index, c)) = chars.next() {
            match c {
                '\\' => {
                    chars.next();
                }
                '`' => {
                    self.at += index + 1;
                    self.tokens.push(Text(String::new()));
                    return;
                }
                '$' if chars.peek().is_some_and(|(_, next)| *next == '{') => {
                    self.at += index + 2;
                    self.templates.push(0);
                    self.tokens.push(Mark('+'));
                    return;
                }
                _ => {}
            }
        }
        self.at = self.source.len();
    }

    fn regular_expression(&mut self) {
        let mut in_class = false;
        let mut chars = self.rest()[1..].char_indices();
        while let Some((index, c)) = chars.next() {
            match c {
                '\\' => {
                    chars.next();
                }
                '[' => in_class = true,
                ']' => in_class = false,
                '/' if !in_class => {
                    self.at += index + 2;
                    self.tokens.push(Text(String::new()));
                    return;
                }
                '\n' => break,
                _ => {}
            }
        }
        self.mark('/');
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$' || c == '\u{200c}' || c == '\u{200d}'
}

/// Looks through a CommonJS module.
pub(crate) fn commonjs(source: &str) -> Found {
    let tokens = Lexer::all(source);
    let mut found = Found::default();
    let mut at = 0;
    while at < tokens.len() {
        let is_property = at > 0 && tokens[at - 1] == Mark('.');
        match &tokens[at] {
            Word("exports") => {
                let is_module = at > 1 && is_property && tokens[at - 2] == Word("module");
                if !is_property || is_module {
                    found.after_exports(&tokens[at + 1..]);
                }
            }
            Word("defineProperty") if is_property => {
                if let Some(name) = defined(&tokens[at + 1..]) {
                    found.export(name);
                }
            }
            Word("__exportStar" | "__export") => {
                if let [Mark('('), rest @ ..] = &tokens[at + 1..] {
                    found.reexport(rest);
                }
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// The name in `(exports, 'name'` or `(module.exports, 'name'`.
fn defined<'a>(tokens: &'a [Token<'_>]) -> Option<&'a str> {
    let rest = match tokens {
        [Mark('('), Word("exports"), rest @ ..] => rest,
        [
            Mark('('),
            Word("module"),
            Mark('.'),
            Word("exports"),
            rest @ ..,
        ] => rest,
        _ => return None,
    };
    match rest {
        [Mark(','), Text(name), ..] => Some(name),
        _ => None,
    }
}

impl Found {
    fn export(&mut self, name: &str) {
        if !self.exports.iter().any(|known| known == name) {
            self.exports.push(name.into());
        }
    }

    fn reexport(&mut self, tokens: &[Token<'_>]) -> bool {
        let [Word("require"), Mark('('), Text(specifier), Mark(')'), ..] = tokens else {
            return false;
        };
        if !self.reexports.contains(specifier) {
            self.reexports.push(specifier.clone());
        }
        true
    }

    /// What follows the word `exports`, or `module.exports`.
    fn after_exports(&mut self, tokens: &[Token<'_>]) {
        match tokens {
            [Mark('.'), Word(name), Mark('='), next, ..] if *next != Mark('=') => {
                self.export(name);
            }
            [Mark('['), Text(name), Mark(']'), Mark('='), next, ..] if *next != Mark('=') => {
                self.export(name);
            }
            [Mark('='), Mark('='), ..] => {}
            [Mark('='), Mark('{'), rest @ ..] => self.literal(rest),
            [Mark('='), rest @ ..] => {
                self.reexport(rest);
            }
            _ => {}
        }
    }

    /// The keys of an object literal, from after its brace.
    fn literal(&mut self, mut tokens: &[Token<'_>]) {
        loop {
            match tokens {
                [Mark('.'), Mark('.'), Mark('.'), rest @ ..] => {
                    self.reexport(rest);
                }
                [Word("get" | "set" | "async"), Word(name), Mark('('), ..] => self.export(name),
                [Word(name), Mark(',' | '}' | ':' | '('), ..] => self.export(name),
                [Text(name), Mark(':' | '('), ..] => self.export(name),
                [Mark('}'), ..] | [] => return,
                _ => {}
            }
            // To the comma that ends the value.
            let mut depth = 0_usize;
            let end = tokens.iter().position(|token| {
                match token {
                    Mark('{' | '(' | '[') => depth += 1,
                    Mark('}' | ')' | ']') if depth == 0 => return true,
                    Mark('}' | ')' | ']') => depth -= 1,
                    Mark(',') if depth == 0 => return true,
                    _ => {}
                }
                false
            });
            match end.map(|end| &tokens[end..]) {
                Some([Mark(','), rest @ ..]) => tokens = rest,
                _ => return,
            }
        }
    }
}

/// True when more brackets, or a template, are opened than closed: there is more to come.
pub(crate) fn is_open(source: &str) -> bool {
    let mut depth = 0_i64;
    let mut lexer = Lexer {
        source,
        at: 0,
        tokens: Vec::new(),
        templates: Vec::new(),
    };
    while lexer.step() {}
    for token in &lexer.tokens {
        match token {
            Mark('{' | '(' | '[') => depth += 1,
            Mark('}' | ')' | ']') => depth -= 1,
            _ => {}
        }
    }
    depth > 0 || !lexer.templates.is_empty() || source.matches('`').count() % 2 == 1
}

/// The names that an ES module exports by itself.
pub(crate) fn esm_exports(source: &str) -> Vec<String> {
    let tokens = Lexer::all(source);
    let mut names = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        if *token != Word("export") || (at > 0 && tokens[at - 1] == Mark('.')) {
            continue;
        }
        match &tokens[at + 1..] {
            [Word("default"), ..] => names.push("default".into()),
            [Word("const" | "let" | "var" | "class"), Word(name), ..]
            | [Word("function"), Word(name), ..]
            | [Word("function"), Mark('*'), Word(name), ..]
            | [Word("async"), Word("function"), Word(name), ..]
            | [Word("async"), Word("function"), Mark('*'), Word(name), ..]
            | [Mark('*'), Word("as"), Word(name), ..] => names.push((*name).to_owned()),
            [Mark('{'), rest @ ..] => {
                let end = rest.iter().position(|token| *token == Mark('}'));
                for item in rest[..end.unwrap_or(rest.len())].split(|token| *token == Mark(',')) {
                    match item {
                        [.., Word(name)] => names.push((*name).to_owned()),
                        [.., Text(name)] => names.push(name.clone()),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(source: &str) -> Vec<String> {
        commonjs(source).exports
    }

    #[test]
    fn assignments() {
        assert_eq!(
            names("exports.a = 1; module.exports.b = 2; exports['c-d'] = exports.e = 3"),
            ["a", "b", "c-d", "e"]
        );
        assert_eq!(
            names("if (exports.a == 1) other.exports.b = 2"),
            [] as [&str; 0]
        );
        assert_eq!(
            names("Object.defineProperty(exports, '__esModule', { value: true })"),
            ["__esModule"]
        );
    }

    #[test]
    fn literals() {
        assert_eq!(
            names(
                "module.exports = { a, b: f({ x: 1, y }), 'c': 3, d () { return { z: 1 } }, get e () {}, ...require('./f') }"
            ),
            ["a", "b", "c", "d", "e"]
        );
        assert_eq!(
            names("module.exports = exports = { a: /}/, b: `}${ {q: '}'}.q }`, c }"),
            ["a", "b", "c"]
        );
    }

    #[test]
    fn what_is_passed_on() {
        let found = commonjs(
            "module.exports = require('./a'); __exportStar(require(\"./b\"), exports); exports = { ...require('c') }",
        );
        assert_eq!(found.reexports, ["./a", "./b", "c"]);
    }

    #[test]
    fn text_is_not_code() {
        assert_eq!(
            names(
                "// exports.a = 1\n/* exports.b = 1 */ 'exports.c = 1'; `exports.d = ${ exports.e = 1 }`; /exports.f = 1/; exports.g = 1 / 2 / 3"
            ),
            ["e", "g"]
        );
    }

    #[test]
    fn esm() {
        assert_eq!(
            esm_exports(
                "export const a = 1; export default f; export async function b () {} export { c, d as e, f as 'g-h' } from 'x'; export * as i from 'y'"
            ),
            ["a", "default", "b", "c", "e", "g-h", "i"]
        );
    }
}
