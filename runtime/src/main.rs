//! `bare` on this runtime.

fn main() -> std::process::ExitCode {
    pome_runtime::bare_main(std::env::args().skip(1))
}
