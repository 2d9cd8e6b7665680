//! Bare's command line: `bare [flags] [filename] [...args]`.

use crate::{BARE_VERSION, Exit, Options, Runtime, claim_channel};
use std::{path::Path, process::ExitCode};

const HELP: &str = "bare [flags] [filename] [...args]

Evaluate a script or start a REPL session if no script is provided.

Arguments:
  [filename]              Optional. The name of a script to evaluate
  [...args]               Additional arguments made available to the script

Flags:
  --version|-v            Print the Bare version
  --eval|-e <script>      Evaluate an inline script
  --print|-p <script>     Evaluate an inline script and print the result
  --expose-gc             Expose garbage collection APIs
  --help|-h               Show help
  --npm                   As the first of all: npm's JavaScript of the Hypercore stack
";

/// What a command line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Request {
    Help,
    Version,
    Script {
        source: String,
        print: bool,
        args: Vec<String>,
    },
    File {
        file: String,
        args: Vec<String>,
    },
    Repl,
    Wrong(String),
}

/// What stands before the program's own arguments.
#[derive(Default)]
struct Flags {
    help: bool,
    version: bool,
    expose_gc: bool,
    eval: Option<String>,
    print: Option<String>,
}

impl Flags {
    /// A flag that says yes or no; false when there is none of that name.
    fn set(&mut self, name: &str, value: bool) -> bool {
        let flag = match name {
            "help" | "h" => &mut self.help,
            "version" | "v" => &mut self.version,
            "expose-gc" => &mut self.expose_gc,
            _ => return false,
        };
        *flag = value;
        true
    }

    /// A flag that takes a script.
    fn script(&mut self, name: &str) -> Option<&mut Option<String>> {
        match name {
            "eval" | "e" => Some(&mut self.eval),
            "print" | "p" => Some(&mut self.print),
            _ => None,
        }
    }

    /// Takes one argument that begins with a dash, and the one after it where it is the flag's. `Err` is what is wrong.
    fn take(&mut self, arg: &str, next: impl FnOnce() -> Option<String>) -> Result<(), String> {
        let invalid = |name: &str| Err(format!("invalid flag: {name}"));
        let unknown = |name: &str| Err(format!("unknown flag: {name}"));
        let Some(long) = arg.strip_prefix("--") else {
            let short = arg.trim_start_matches('-');
            let mut names = short.chars().map(String::from);
            let first = names.next().unwrap_or_default();
            if let Some(script) = self.script(&first) {
                *script = match names.next() {
                    None => next(),
                    Some(_) => None,
                };
                return script.as_ref().map_or_else(|| invalid(&first), |_| Ok(()));
            }
            for name in std::iter::once(first).chain(names) {
                if !self.set(&name, true) {
                    return unknown(&name);
                }
            }
            return Ok(());
        };
        let (name, value) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (long, None),
        };
        if let Some(script) = self.script(name) {
            *script = match value {
                Some(value) => Some(value.to_owned()).filter(|value| !value.is_empty()),
                None => next(),
            };
            return script.as_ref().map_or_else(|| invalid(name), |_| Ok(()));
        }
        let (name, says) = match name.strip_prefix("no-") {
            Some(name) => (name, false),
            None => (name, true),
        };
        match (self.script(name).is_some(), value) {
            (true, _) => invalid(name),
            (false, value) if self.set(name, says) => match value {
                Some(_) => invalid(name),
                None => Ok(()),
            },
            (false, _) => unknown(name),
        }
    }
}

fn parse(args: impl IntoIterator<Item = String>) -> (Request, bool) {
    let mut args = args.into_iter();
    let mut flags = Flags::default();
    let mut rest = Vec::new();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--" => {}
            flag if flag.starts_with('-') && flag.len() > 1 => {
                if let Err(message) = flags.take(flag, || args.next()) {
                    return (Request::Wrong(message), false);
                }
                continue;
            }
            _ => rest.push(arg),
        }
        rest.extend(args);
        break;
    }
    let request = if flags.help {
        Request::Help
    } else if flags.version {
        Request::Version
    } else if let Some((source, print)) = match flags.eval {
        Some(source) => Some((source, false)),
        None => flags.print.map(|source| (source, true)),
    } {
        Request::Script {
            source,
            print,
            args: rest,
        }
    } else {
        let mut rest = rest.into_iter();
        rest.next().map_or(Request::Repl, |file| Request::File {
            file,
            args: rest.collect(),
        })
    };
    (request, flags.expose_gc)
}

/// Does what Bare does with these arguments (without the name of the program itself), and ends the process with SIGABRT where Bare would.
pub fn bare_main(args: impl IntoIterator<Item = String>) -> ExitCode {
    claim_channel();
    let mut args = args.into_iter().peekable();
    let npm = args.next_if(|arg| arg == "--npm").is_some();
    let (request, expose_gc) = parse(args);
    let with = |args| Options {
        args,
        npm,
        expose_gc,
        ..Options::default()
    };
    let exit = match request {
        Request::Help => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Request::Version => {
            println!("v{BARE_VERSION}");
            return ExitCode::SUCCESS;
        }
        Request::Wrong(message) => {
            eprintln!("{message}");
            return ExitCode::FAILURE;
        }
        Request::Repl => Runtime::new(with(Vec::new())).repl(),
        Request::Script {
            source,
            print,
            args,
        } => Runtime::new(with(args)).eval(&source, print),
        Request::File { file, args } => Runtime::new(with(args)).run_file(Path::new(&file)),
    };
    exit.into_exit_code()
}

impl Exit {
    /// The status for the process; does not come back where the process has to abort.
    pub fn into_exit_code(self) -> ExitCode {
        match self {
            Self::Code(code) => ExitCode::from(code),
            Self::Abort => std::process::abort(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Request {
        parse(line.split_whitespace().map(str::to_owned)).0
    }

    /// What Bare 1.33.4 makes of each of these, but for the files that do not have to be there.
    #[test]
    fn arguments_as_bare_takes_them() {
        let texts = |args: &[&str]| args.iter().map(|arg| (*arg).to_owned()).collect();
        let file = |file: &str, args: &[&str]| Request::File {
            file: file.into(),
            args: texts(args),
        };
        let script = |print, args: &[&str]| Request::Script {
            source: "1+1".into(),
            print,
            args: texts(args),
        };
        let wrong = |message: &str| Request::Wrong(message.into());
        let lines = [
            ("", Request::Repl),
            ("--", Request::Repl),
            ("a.js -v --x", file("a.js", &["-v", "--x"])),
            ("-- -a b", file("-a", &["b"])),
            ("-", file("-", &[])),
            ("-v a.js", Request::Version),
            ("-h a.js", Request::Help),
            ("-vh", Request::Help),
            ("-p 1+1 -v", Request::Version),
            ("--no-version a.js", file("a.js", &[])),
            ("-p 1+1", script(true, &[])),
            ("--eval=1+1 a b", script(false, &["a", "b"])),
            ("-p 1 -e 1+1", script(false, &[])),
            ("--nope", wrong("unknown flag: nope")),
            ("--nope=3", wrong("unknown flag: nope")),
            ("--no-nope", wrong("unknown flag: nope")),
            ("-h -nope", wrong("unknown flag: n")),
            ("-vx", wrong("unknown flag: x")),
            ("-e", wrong("invalid flag: e")),
            ("-e=1", wrong("invalid flag: e")),
            ("-p1", wrong("invalid flag: p")),
            ("-pe 1", wrong("invalid flag: p")),
            ("--print", wrong("invalid flag: print")),
            ("--eval=", wrong("invalid flag: eval")),
            ("--no-eval", wrong("invalid flag: eval")),
            ("--version=1", wrong("invalid flag: version")),
        ];
        for (line, request) in lines {
            assert_eq!(parsed(line), request, "{line}");
        }
        let exposes = |line: &str| parse(line.split_whitespace().map(str::to_owned)).1;
        assert!(exposes("--expose-gc a.js") && !exposes("--expose-gc --no-expose-gc a.js"));
    }
}
