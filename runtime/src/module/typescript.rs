//! TypeScript as JavaScript: what only says types becomes blanks, so that everything else stays in its line and column.
//!
//! What means something when it runs (`enum`, `namespace`, properties that are parameters of a constructor, `<T>x`, `import x = …`, `export = …`) cannot
//! be blanked: it is a `SyntaxError`, as in Bare. What is no TypeScript at all is left to the engine, which says where.

use tree_sitter::{Node, Parser};

/// What cannot be blanked, and where it is; line and column count from 1.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("Cannot strip non-erasable TypeScript syntax '{source_text}' at {line}:{column}")]
pub(crate) struct NotErasable {
    source_text: String,
    line: usize,
    column: usize,
}

/// How much of what cannot be blanked an error shows, in bytes.
const SHOWN_BYTES: usize = 32;

/// The program without its types.
pub(crate) fn strip(source: &str) -> Result<String, NotErasable> {
    let mut parser = Parser::new();
    let language = tree_sitter_typescript::LANGUAGE_TYPESCRIPT.into();
    let tree = match parser.set_language(&language) {
        Ok(()) => parser.parse(source, None),
        Err(_) => None,
    };
    let Some(tree) = tree else {
        return Ok(source.to_owned());
    };
    let mut strip = Strip {
        source,
        bytes: vec![Byte::Kept; source.len()],
    };
    // A list of what is to be looked at: programs may be nested deeper than a stack is.
    let mut nodes = vec![tree.root_node()];
    while let Some(node) = nodes.pop() {
        if strip.look(node)? {
            let mut cursor = node.walk();
            nodes.extend(node.children(&mut cursor));
        }
    }
    Ok(strip.finish())
}

/// What becomes of a byte of the source.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Byte {
    Kept,
    Blank,
    /// Something else stands in its place.
    Is(u8),
}

struct Strip<'a> {
    source: &'a str,
    bytes: Vec<Byte>,
}

impl Strip<'_> {
    /// Blanks what is types of a node; false when nothing else is in it.
    fn look(&mut self, node: Node<'_>) -> Result<bool, NotErasable> {
        match node.kind() {
            "interface_declaration"
            | "type_alias_declaration"
            | "ambient_declaration"
            | "function_signature"
            | "abstract_method_signature"
            | "method_signature"
            | "index_signature" => self.statement(node),
            "implements_clause" | "type_parameters" | "type_arguments" => {
                self.blank(node.start_byte(), node.end_byte());
            }
            kind if kind.ends_with("_annotation") => self.annotation(node),
            "enum_declaration" | "type_assertion" | "import_alias" | "export_assignment" => {
                return Err(self.not_erasable(node));
            }
            "internal_module" | "module" if node.is_named() && node.child_count() > 0 => {
                return Err(self.not_erasable(node));
            }
            "import_statement" => return self.import(node),
            "export_statement" => return self.export(node),
            "import_specifier" | "export_specifier" => {
                if token(node, "type").is_some() {
                    self.item(node);
                    return Ok(false);
                }
                return Ok(true);
            }
            "as_expression" | "satisfies_expression" => {
                if let Some(value) = node.child(0) {
                    self.tail(node, value.end_byte());
                }
                return Ok(true);
            }
            "non_null_expression" => {
                self.token(node, "!");
                return Ok(true);
            }
            "required_parameter" | "optional_parameter" => return self.parameter(node),
            "public_field_definition" => {
                if token(node, "declare").is_some() || token(node, "abstract").is_some() {
                    self.statement(node);
                    return Ok(false);
                }
                self.modifiers(node);
                return Ok(true);
            }
            "method_definition" | "abstract_class_declaration" | "variable_declarator" => {
                self.modifiers(node);
                return Ok(true);
            }
            // Signatures of a class have their semicolons beside them.
            _ => return Ok(true),
        }
        Ok(false)
    }

    fn blank(&mut self, start: usize, end: usize) {
        self.bytes[start..end].fill(Byte::Blank);
    }

    /// Blanks something that stands for itself. A semicolon stays, so that what is before it does not go on after it.
    fn statement(&mut self, node: Node<'_>) {
        self.blank(node.start_byte(), node.end_byte());
        self.bytes[node.start_byte()] = Byte::Is(b';');
    }

    /// Blanks the end of a node from `start` on. Where a statement ends with it and has no semicolon of its own, it gets one: without the type, the next
    /// line could belong to it.
    fn tail(&mut self, node: Node<'_>, start: usize) {
        let end = node.end_byte();
        self.blank(start, end);
        let mut around = Some(node);
        while let Some(node) = around.filter(|node| node.end_byte() == end) {
            if ends_a_statement(node) {
                self.bytes[start] = Byte::Is(b';');
                return;
            }
            around = node.parent();
        }
    }

    fn annotation(&mut self, node: Node<'_>) {
        let (start, end) = (node.start_byte(), node.end_byte());
        self.tail(node, start);
        // No line may end between the parameters of an arrow function and its arrow: the parenthesis goes to where the type ended.
        let is_of_arrow = node
            .parent()
            .is_some_and(|parent| parent.kind() == "arrow_function");
        if is_of_arrow && self.source[start..end].contains('\n') {
            let before = self.source[..start].trim_end().len();
            if before > 0 && self.source.as_bytes()[before - 1] == b')' && end > start {
                self.bytes[before - 1] = Byte::Blank;
                // A type may end with a character of several bytes.
                let last = (start..end)
                    .rev()
                    .find(|at| self.source.is_char_boundary(*at));
                self.bytes[last.unwrap_or(start)] = Byte::Is(b')');
            }
        }
    }

    fn token(&mut self, node: Node<'_>, kind: &str) {
        if let Some(token) = token(node, kind) {
            self.tail(token, token.start_byte());
        }
    }

    fn modifiers(&mut self, node: Node<'_>) {
        let mut cursor = node.walk();
        for child in node.children(&mut cursor) {
            if matches!(
                child.kind(),
                "accessibility_modifier"
                    | "override_modifier"
                    | "readonly"
                    | "abstract"
                    | "declare"
                    | "?"
                    | "!"
            ) {
                self.tail(child, child.start_byte());
            }
        }
    }

    fn parameter(&mut self, node: Node<'_>) -> Result<bool, NotErasable> {
        let mut cursor = node.walk();
        for child in node.children(&mut cursor) {
            match child.kind() {
                "accessibility_modifier" | "override_modifier" | "readonly" => {
                    return Err(self.not_erasable(child));
                }
                // It is only there to say its type.
                "this" => {
                    self.item(node);
                    return Ok(false);
                }
                "?" => self.blank(child.start_byte(), child.end_byte()),
                _ => {}
            }
        }
        Ok(true)
    }

    /// Blanks one of a list, and the comma after it.
    fn item(&mut self, node: Node<'_>) {
        self.blank(node.start_byte(), node.end_byte());
        let mut next = node.next_sibling();
        while let Some(node) = next.filter(|node| node.kind() == "comment") {
            next = node.next_sibling();
        }
        if let Some(comma) = next.filter(|node| node.kind() == ",") {
            self.blank(comma.start_byte(), comma.end_byte());
        }
    }

    fn import(&mut self, node: Node<'_>) -> Result<bool, NotErasable> {
        let mut cursor = node.walk();
        if node
            .children(&mut cursor)
            .any(|child| child.kind() == "import_require_clause")
        {
            return Err(self.not_erasable(node));
        }
        if token(node, "type").is_some() {
            self.statement(node);
            return Ok(false);
        }
        Ok(true)
    }

    fn export(&mut self, node: Node<'_>) -> Result<bool, NotErasable> {
        if token(node, "=").is_some() || token(node, "namespace").is_some() {
            return Err(self.not_erasable(node));
        }
        let declared = node
            .child_by_field_name("declaration")
            .or_else(|| node.child_by_field_name("value"));
        let is_type = declared.is_some_and(|declared| {
            matches!(
                declared.kind(),
                "interface_declaration"
                    | "type_alias_declaration"
                    | "ambient_declaration"
                    | "function_signature"
            )
        });
        if is_type || token(node, "type").is_some() {
            self.statement(node);
            return Ok(false);
        }
        Ok(true)
    }

    fn not_erasable(&self, node: Node<'_>) -> NotErasable {
        let start = node.start_byte();
        let mut end = node.end_byte().min(start + SHOWN_BYTES);
        while !self.source.is_char_boundary(end) {
            end -= 1;
        }
        let before = &self.source[..start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        NotErasable {
            source_text: self.source[start..end].to_owned(),
            line: before.matches('\n').count() + 1,
            column: start - line_start + 1,
        }
    }

    fn finish(self) -> String {
        let mut text = String::with_capacity(self.source.len());
        for (at, character) in self.source.char_indices() {
            match self.bytes[at] {
                Byte::Is(byte) => text.push(char::from(byte)),
                Byte::Blank if !matches!(character, '\n' | '\r' | '\u{2028}' | '\u{2029}') => {
                    text.push(' ');
                    // Columns are counted as JavaScript counts.
                    if character.len_utf16() == 2 {
                        text.push(' ');
                    }
                }
                _ => text.push(character),
            }
        }
        text
    }
}

/// The child of a node that is this very word.
fn token<'tree>(node: Node<'tree>, kind: &str) -> Option<Node<'tree>> {
    let mut cursor = node.walk();
    node.children(&mut cursor)
        .find(|child| !child.is_named() && child.kind() == kind)
}

/// True for what has no semicolon although it could end with one.
fn ends_a_statement(node: Node<'_>) -> bool {
    let could = matches!(
        node.kind(),
        "expression_statement"
            | "lexical_declaration"
            | "variable_declaration"
            | "return_statement"
            | "throw_statement"
            | "export_statement"
            | "public_field_definition"
    );
    // A field of a class has its semicolon beside it, the others have it in them.
    let next = node.next_sibling();
    could && token(node, ";").is_none() && next.is_none_or(|next| next.kind() != ";")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left of a program, with one blank for each run of them. Nothing in it has moved.
    fn left(source: &str) -> String {
        let stripped = strip(source).unwrap();
        assert_eq!(stripped.chars().count(), source.chars().count(), "{source}");
        for (now, before) in stripped.chars().zip(source.chars()) {
            assert!(now == before || matches!(now, ' ' | ';' | ')'), "{source}");
            assert_eq!(now == '\n', before == '\n', "{source}");
        }
        stripped.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn types_become_blanks() {
        for (source, expected) in [
            ("const x: number = 1", "const x = 1"),
            ("let x!: number", "let x ;"),
            ("let x: number;", "let x ;"),
            ("f<string>(1)", "f (1)"),
            (
                "class A<T> extends B<T> implements C, D {}",
                "class A extends B {}",
            ),
            (
                "function f<T>(a?: T, ...b: T[]): T { return a! }",
                "function f (a , ...b ) { return a; }",
            ),
            ("const f = <T>(x: T): T => x as T", "const f = (x ) => x;"),
            ("x satisfies Y", "x;"),
            (
                "abstract class A { abstract b(): void; private readonly c: number = 1; declare d: string; e?: string; static f!: F }",
                "class A { ; ; c = 1; ; ; e ; static f ; }",
            ),
            (
                "class A { constructor(a: number) {} get b(): number { return 1 } override c(): void {} }",
                "class A { constructor(a ) {} get b() { return 1 } c() {} }",
            ),
            ("function f(this: Foo, a: number) {}", "function f( a ) {}"),
            ("import type { A } from 'a'", ";"),
            ("import { type A, b } from 'a'", "import { b } from 'a'"),
            ("export type { A } from 'a'", ";"),
            ("export type A = B", ";"),
            ("export interface A { b: string }", ";"),
            ("export { a, type B }", "export { a, }"),
            ("declare const x: number", ";"),
            ("declare module 'x' { const a: number }", ";"),
            ("declare global { interface A {} }", ";"),
            (
                "function f(a: string): void\nfunction f(a) {}",
                "; function f(a) {}",
            ),
            ("const a = b as unknown as string", "const a = b ;"),
            (
                "for (const x of y as string[]) {}",
                "for (const x of y ) {}",
            ),
            ("if ((a as any).b) c!.d!()", "if ((a ).b) c .d ()"),
            (
                "function f(x: unknown): asserts x is string {}",
                "function f(x ) {}",
            ),
            ("let a = x as string\nlet b", "let a = x; let b"),
            ("type A = string\n;[1].map(String)", "; [1].map(String)"),
            ("export default class A<T> {}", "export default class A {}"),
            (
                "const é: 'é' = 'é', o = { a, b() {} }",
                "const é = 'é', o = { a, b() {} }",
            ),
        ] {
            assert_eq!(left(source), expected, "{source}");
        }
    }

    #[test]
    fn javascript_stays_as_it_is() {
        let source = "#!/usr/bin/env bare\nconst type = 1, less = a < b, more = (d > (e)), o = { type, abstract: x?.y ?? z }\nlabel: for (;;) break label\nclass A { static #p = 1; async *[Symbol.iterator]() {} static { } }\nimport x, * as y from 'z' with { type: 'json' }\nexport { type }\nconst t = `${a}:${b}`, r = /a:b/u, n = a ? b : c\n";
        assert_eq!(strip(source).unwrap(), source);
    }

    #[test]
    fn no_line_ends_before_an_arrow() {
        let stripped = strip("const f = (a): Promise<\n  string\n> => a").unwrap();
        let lines: Vec<_> = stripped.lines().map(str::trim_end).collect();
        assert_eq!(lines, ["const f = (a", "", ") => a"]);
    }

    #[test]
    fn what_runs_is_no_type() {
        for (source, text) in [
            ("enum A { B }", "enum A { B }"),
            ("namespace A { const b = 1 }", "namespace A { const b = 1 }"),
            ("class A { constructor(public x: number) {} }", "public"),
            ("const a = <Foo>b", "<Foo>b"),
            ("import a = require('a')", "import a = require('a')"),
            ("export = a", "export = a"),
        ] {
            let error = strip(source).unwrap_err();
            assert_eq!(error.source_text, text);
        }
        let error = strip("let a\n  enum B { C }").unwrap_err();
        assert_eq!(
            error.to_string(),
            "Cannot strip non-erasable TypeScript syntax 'enum B { C }' at 2:3"
        );
    }

    #[test]
    fn nothing_makes_it_fail() {
        for source in [
            "",
            "(",
            "class {",
            "a as",
            "<<<<",
            "\u{feff}let x: ",
            "let é: é = 'x' as",
            "`${",
            "type",
            "= > : ! ?",
        ] {
            let _ = strip(source);
        }
    }
}
