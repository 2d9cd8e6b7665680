//! Says where a `protoc` is: hyperbee's build script calls the one that `$PROTOC` names.

fn main() {
    match protoc_bin_vendored::protoc_bin_path() {
        Ok(path) => println!("{}", path.display()),
        Err(error) => {
            eprintln!("there is no protoc for this machine: {error}");
            std::process::exit(1);
        }
    }
}
