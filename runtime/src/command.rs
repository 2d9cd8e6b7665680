//! Bare's command line: `bare [flags] [filename] [...args]`.

use crate::{BARE_VERSION, Exit, Options, Runtime};
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

fn parse(args: impl IntoIterator<Item = String>) -> Request {
    let mut args = args.into_iter();
    let mut script = None;
    while let Some(arg) = args.next() {
        let (flag, value) = match arg.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => {
                (flag.to_owned(), Some(value.to_owned()))
            }
            _ => (arg.clone(), None),
        };
        match flag.as_str() {
            "--help" | "-h" => return Request::Help,
            "--version" | "-v" => return Request::Version,
            "--eval" | "-e" | "--print" | "-p" => {
                let print = flag.contains('p');
                let Some(source) = value.or_else(|| args.next()) else {
                    return Request::Wrong(format!("missing value for flag: {flag}"));
                };
                script = Some((source, print));
            }
            // Neither changes how a program behaves here.
            "--expose-gc" => {}
            "--" => {
                return match script {
                    Some((source, print)) => Request::Script {
                        source,
                        print,
                        args: args.collect(),
                    },
                    None => args.next().map_or(Request::Repl, |file| Request::File {
                        file,
                        args: args.collect(),
                    }),
                };
            }
            flag if flag.starts_with('-') && flag.len() > 1 => {
                return Request::Wrong(format!("unknown flag: {}", flag.trim_start_matches('-')));
            }
            _ => {
                let rest = args.collect();
                return match script {
                    Some((source, print)) => {
                        let args = std::iter::once(arg).chain::<Vec<String>>(rest).collect();
                        Request::Script {
                            source,
                            print,
                            args,
                        }
                    }
                    None => Request::File {
                        file: arg,
                        args: rest,
                    },
                };
            }
        }
    }
    match script {
        Some((source, print)) => Request::Script {
            source,
            print,
            args: Vec::new(),
        },
        None => Request::Repl,
    }
}

/// Does what Bare does with these arguments (without the name of the program itself), and ends the process with SIGABRT where Bare would.
pub fn bare_main(args: impl IntoIterator<Item = String>) -> ExitCode {
    let mut args = args.into_iter().peekable();
    let npm = args.next_if(|arg| arg == "--npm").is_some();
    let with = |args| Options {
        args,
        npm,
        ..Options::default()
    };
    let exit = match parse(args) {
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
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn arguments_as_bare_takes_them() {
        let file = |file: &str, args: &[&str]| Request::File {
            file: file.into(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        };
        assert_eq!(parsed(""), Request::Repl);
        assert_eq!(parsed("a.js -v --x"), file("a.js", &["-v", "--x"]));
        assert_eq!(parsed("--expose-gc a.js"), file("a.js", &[]));
        assert_eq!(parsed("-v a.js"), Request::Version);
        assert_eq!(
            parsed("--nope"),
            Request::Wrong("unknown flag: nope".into())
        );
        assert_eq!(
            parsed("-e"),
            Request::Wrong("missing value for flag: -e".into())
        );
        let script = |print, args: &[&str]| Request::Script {
            source: "1+1".into(),
            print,
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        };
        assert_eq!(parsed("-p 1+1"), script(true, &[]));
        assert_eq!(parsed("--eval=1+1 a b"), script(false, &["a", "b"]));
    }
}
