//! `bare` on this runtime.

fn main() -> std::process::ExitCode {
    let args = std::env::args_os().skip(1);
    pome_runtime::bare_main(args.map(|arg| arg.to_string_lossy().into_owned()))
}
