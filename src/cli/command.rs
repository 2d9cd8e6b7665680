//! One place where every command meets the code that does it.

use super::{
    app, args::Command, bee, core, drive, failure::Failure, held, io::Io, mount, service::Service,
    share, store,
};

/// Does the work of one command. When it returns well, what it wrote is on disk.
pub(crate) async fn execute(
    service: &Service,
    command: Command,
    mut io: Io,
) -> Result<(), Failure> {
    match command {
        Command::Mount(args) => mount::mount(service, args, &mut io).await,
        Command::Unmount { mountpoint } => mount::unmount(service, &mountpoint, &mut io).await,
        Command::Status { path: None } => mount::status(service, &mut io).await,
        Command::Status { path: Some(path) } => held::status(service, &path, &mut io).await,
        Command::Flush { path, peers } => held::flush(service, path.as_ref(), peers, &mut io).await,
        Command::Drive(command) => drive::execute(service, command, &mut io).await,
        Command::Core(command) => core::execute(service, command, &mut io).await,
        Command::Bee(command) => bee::execute(service, command, &mut io).await,
        Command::Share(args) => share::share(service, args, &mut io).await,
        Command::Stage(args) => app::stage::stage(service, args, &mut io).await,
        Command::Seed(args) => app::seed::seed(service, args, &mut io).await,
        Command::Release(args) => app::release::release(service, args, &mut io).await,
        Command::Info(args) => app::info::info(service, args, &mut io).await,
        Command::Dump(args) => app::dump::dump(service, args, &mut io).await,
        Command::Touch { vanity } => app::release::touch(service, vanity, &mut io).await,
        Command::Store(command) => store::execute(service, command, &mut io).await,
        Command::Completions { .. }
        | Command::Man { .. }
        | Command::Owner
        | Command::Run(_)
        | Command::Init(_)
        | Command::Data(_)
        | Command::Gc(_)
        | Command::Shift(_)
        | Command::Versions
        | Command::Bench(_)
        | Command::Dht(_)
        | Command::Doctor { .. } => Err(Failure::usage(
            "this command does not work on an open store",
        )),
    }
}
