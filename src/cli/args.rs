//! What a person may type. Plain data: it also travels to the owner of the store, which does the work.

use super::{
    app::args::{
        AppArgs, DataArgs, DumpArgs, GcArgs, InfoArgs, InitArgs, ReleaseArgs, RunArgs, ShiftArgs,
        StageArgs,
    },
    bench::args::BenchArgs,
    frame::path,
    keys::Handed,
};
use clap::{Args, Parser, Subcommand, ValueEnum, builder::FalseyValueParser};
use serde::{Deserialize, Serialize};
use std::{net::Ipv4Addr, path::PathBuf};

/// Drives as folders, a sorted database and signed logs, on one crash-safe store.
#[derive(Debug, Parser)]
#[command(name = "pome", version, propagate_version = true, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Global {
    /// The store's folder [default: the XDG data folder, `~/.local/share/pome`]
    #[arg(long, global = true, env = "POME_STORE", value_name = "DIR")]
    pub(crate) store: Option<PathBuf>,
    /// One JSON object per line on stdout
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say more on stderr (twice: still more)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Say nothing on stderr but errors, and draw no progress bars
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// The key file of an encrypted store [env: POME_KEY_FILE]
    #[arg(long, global = true, value_name = "F")]
    pub(crate) key_file: Option<PathBuf>,
    /// A file with the passphrase of an encrypted store; `-` is the first line of stdin [env: POME_PASSPHRASE_FILE]
    #[arg(long, global = true, value_name = "F|-", conflicts_with = "key_file")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// The key comes through a pipe from the process that started this one
    #[arg(long, global = true, hide = true)]
    pub(crate) key_from_stdin: bool,
    /// A peer to ask for what is not here, by secret stream on TCP: `pome share`, or npm's corestore behind a socket (repeatable)
    #[arg(long, global = true, value_name = "HOST:PORT", value_parser = address)]
    pub(crate) peer: Vec<String>,
    /// Nodes of the DHT to begin with, or `none` [default: those of the public network] [env: POME_BOOTSTRAP]
    #[arg(long, global = true, env = "POME_BOOTSTRAP", hide_env = true, value_name = "HOST:PORT,…", value_parser = bootstrap)]
    pub(crate) bootstrap: Option<Bootstrap>,
    /// Neither look for peers nor be found: only those of `--peer` [env: POME_NO_SWARM]
    #[arg(long, global = true, env = "POME_NO_SWARM", hide_env = true, value_parser = FalseyValueParser::new())]
    pub(crate) no_swarm: bool,
    /// Look for peers on the local network alone, and be found there
    #[arg(long, global = true)]
    pub(crate) lan_only: bool,
    /// Do not look for peers on the local network, nor be found there [env: POME_NO_LAN]
    #[arg(long, global = true, env = "POME_NO_LAN", hide_env = true, value_parser = FalseyValueParser::new())]
    pub(crate) no_lan: bool,
    /// Where UDP is blocked, find and reach peers through this relay over TCP: it reads what is exchanged, so it must be trusted; KEY is checked
    #[arg(long, global = true, value_name = "[KEY@]HOST:PORT", value_parser = relay)]
    pub(crate) relay: Option<Relay>,
    /// A peer, by its public key, that hands packets on where no straight way is found, without reading them: both sides must trust it (repeatable)
    #[arg(long, global = true, value_name = "KEY", value_parser = key)]
    pub(crate) relay_through: Vec<String>,
    /// Give up waiting after this many seconds
    #[arg(long, global = true, default_value_t = 30.0, value_name = "S", value_parser = seconds)]
    pub(crate) timeout: f64,
}

fn address(text: &str) -> Result<String, String> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(text.into()),
        _ => Err("a host and a port are wanted, as in `127.0.0.1:4711`".into()),
    }
}

/// Where to begin in the DHT: `HOST:PORT` each; empty: nowhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Bootstrap(pub(crate) Vec<String>);

pub(super) fn bootstrap(text: &str) -> Result<Bootstrap, String> {
    if matches!(text, "" | "none") {
        return Ok(Bootstrap::default());
    }
    text.split(',')
        .map(address)
        .collect::<Result<_, _>>()
        .map(Bootstrap)
}

/// Who lends a node of the DHT, over TCP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Relay {
    key: Option<String>,
    address: String,
}

impl Relay {
    /// The key that it must have.
    pub(crate) fn key(&self) -> Option<pome_cores::Key> {
        self.key.as_ref()?.parse().ok()
    }

    /// `HOST:PORT`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }
}

fn relay(text: &str) -> Result<Relay, String> {
    let (name, at) = match text.split_once('@') {
        Some((name, at)) => (Some(key(name)?), at),
        None => (None, text),
    };
    Ok(Relay {
        key: name,
        address: address(at)?,
    })
}

fn key(text: &str) -> Result<String, String> {
    let key = text.parse::<pome_cores::Key>();
    key.map(|key| key.to_string())
        .map_err(|error| error.to_string())
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(s) if s.is_finite() && (0.0..=1e9).contains(&s) => Ok(s),
        _ => Err("a number of seconds from 0 to 1e9 is wanted".into()),
    }
}

#[derive(Debug, Clone, Subcommand, Serialize, Deserialize)]
pub(crate) enum Command {
    /// Mount a drive as an ordinary folder
    // `--version` is that of the drive here.
    #[command(disable_version_flag = true)]
    Mount(MountArgs),
    /// Unmount a folder: normal, then lazy, then abort, saying which; also clears a dead mount
    Unmount {
        /// The mounted folder
        #[serde(with = "path")]
        mountpoint: PathBuf,
    },
    /// Say who owns the store and what is mounted; of a path in a mounted folder, how far it has come
    Status {
        /// A file or folder in a mounted folder: is it durable here, published, and how many peers have it?
        #[serde(with = "path::option")]
        path: Option<PathBuf>,
    },
    /// Publish what was written, and return when it is on disk, and peers have it
    Flush {
        /// A file or folder in a mounted folder [default: the only drive]
        #[serde(with = "path::option")]
        path: Option<PathBuf>,
        /// Wait until so many peers have it
        #[arg(long, value_name = "N", default_value_t = 0)]
        peers: usize,
    },
    /// Work with drives
    #[command(subcommand)]
    Drive(DriveCommand),
    /// Work with cores
    #[command(subcommand)]
    Core(CoreCommand),
    /// Work with bees
    #[command(subcommand)]
    Bee(BeeCommand),
    /// Serve cores, bees and drives to peers: these and nothing else, or all of the store
    Share(ShareArgs),
    /// Look after the store
    #[command(subcommand)]
    Store(StoreCommand),
    /// Be a node of the HyperDHT, or ask it; needs no store
    #[command(subcommand)]
    Dht(DhtCommand),
    /// Say what stands between this machine and its peers: its NAT, its address outside, and how far one comes to whoever has a key
    Doctor {
        /// The key of a core, bee or drive that is shared, or the public key of a peer
        key: Option<String>,
    },
    /// Run a program for Bare or an app for Pear: a file in CommonJS or ESM, a folder or a `pear://KEY`, with its arguments; without one, lines as they are
    /// typed
    Run(RunArgs),
    /// Make a project for an app
    Init(InitArgs),
    /// Bring an app up to date with its project, and say what differs
    Stage(StageArgs),
    /// Let others have an app
    Seed(AppArgs),
    /// Say which version of an app others run
    Release(ReleaseArgs),
    /// Say what an app is, and its newest changes
    Info(InfoArgs),
    /// Copy the files of an app into a folder
    Dump(DumpArgs),
    /// Make the link of an app that is to be staged
    Touch {
        /// A link that begins so: letters of z-base-32, each of which takes 32 times as long (four are some seconds to minutes)
        #[arg(long, value_name = "PREFIX", value_parser = vanity)]
        vanity: Option<String>,
    },
    /// List the apps that ran here; needs no store
    Data(DataArgs),
    /// Remove what no app on this machine keeps; needs no store
    Gc(GcArgs),
    /// Hand what one app keeps to another; needs no store
    Shift(ShiftArgs),
    /// Say which versions this is
    Versions,
    /// Measure pome beside its peers: the same work, in turns, on this machine; needs no store
    Bench(BenchArgs),
    /// Print the completions for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Print the man page, or that of a command
    Man {
        /// Whose page, such as `drive get`
        command: Vec<String>,
    },
    /// Own the store until the last client has left (started by `mount`)
    #[command(hide = true)]
    Owner,
}

#[derive(Debug, Clone, Copy, ValueEnum, Serialize, Deserialize)]
#[expect(clippy::enum_variant_names, reason = "PowerShell is the name of one")]
pub(crate) enum Shell {
    Bash,
    Elvish,
    Fish,
    #[value(name = "powershell")]
    PowerShell,
    Zsh,
}

#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct MountArgs {
    /// The folder to mount at; made when it is missing, refused when something is in it
    #[serde(with = "path")]
    pub(crate) mountpoint: PathBuf,
    /// Which drive [default: the only one; `home` is made when there is none]
    #[arg(long, value_name = "NAME|KEY", conflicts_with = "all")]
    pub(crate) drive: Option<String>,
    /// Every named drive, as a folder each
    #[arg(long)]
    pub(crate) all: bool,
    /// Refuse writes
    #[arg(long)]
    pub(crate) read_only: bool,
    /// The drive as it was at this version (read-only)
    #[arg(long, value_name = "N", conflicts_with = "all")]
    pub(crate) version: Option<u64>,
    /// Let other users in
    #[arg(long)]
    pub(crate) allow_other: bool,
    /// Do not share the drive, nor look for peers: only those of `--peer`
    #[arg(long)]
    pub(crate) offline: bool,
    /// Return when the folder is usable, and keep it in the background
    #[arg(long)]
    pub(crate) background: bool,
    /// Each `write` survives the end of the owner, not only closed and synced files; slower
    #[arg(long)]
    pub(crate) write_through: bool,
    /// How long one operation may wait for bytes that are not here, in seconds
    #[arg(long, value_name = "S", default_value_t = 30.0, value_parser = seconds)]
    pub(crate) deadline: f64,
    /// How many bytes of contents to keep of a drive that somebody else writes, such as `500M` [default: all that was read]
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub(crate) cache_size: Option<u64>,
    /// Print version
    #[arg(short = 'V', action = clap::ArgAction::Version)]
    #[serde(skip)]
    program_version: Option<bool>,
}

/// Which versions a drive keeps.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[group(required = true, multiple = false)]
pub(crate) struct KeepArgs {
    /// The newest N versions
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) keep_versions: Option<u64>,
    /// The versions that were current within this time: `90s`, `15m`, `12h`, `30d`, `8w`
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) keep: Option<u64>,
    /// All of them, as without any rule
    #[arg(long)]
    pub(crate) keep_all: bool,
}

/// In seconds.
fn duration(text: &str) -> Result<u64, String> {
    let wanted = || "a time is wanted, such as `90s`, `15m`, `12h`, `30d` or `8w`".to_owned();
    let unit = text.chars().next_back().ok_or_else(wanted)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        'w' => 7 * 24 * 60 * 60,
        _ => return Err(wanted()),
    };
    let number = text.strip_suffix(unit).and_then(|n| n.parse::<u64>().ok());
    number
        .and_then(|n| n.checked_mul(seconds))
        .ok_or_else(wanted)
}

/// What a key may begin with.
fn vanity(text: &str) -> Result<String, String> {
    let is_letter = |c: char| "ybndrfg8ejkmcpqxot1uwisza345h769".contains(c);
    match !text.is_empty() && text.len() <= 51 && text.chars().all(is_letter) {
        true => Ok(text.into()),
        false => Err("letters of z-base-32 are wanted: ybndrfg8ejkmcpqxot1uwisza345h769".into()),
    }
}

/// A size in bytes, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Size(pub(crate) Option<u64>);

fn size(text: &str) -> Result<Size, String> {
    if text == "none" {
        return Ok(Size(None));
    }
    let bytes = bytes(text).map_err(|wanted| format!("{wanted}, or `none`"))?;
    if bytes < super::limit::LIMIT_MIN {
        let least = super::limit::LIMIT_MIN >> 20;
        return Err(format!("a store cannot do with less than {least}M"));
    }
    Ok(Size(Some(bytes)))
}

pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let wanted = || "a size is wanted, such as `500M`, `20G` or `20GB`".to_owned();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| wanted())?;
    let unit = &text[digits.len()..];
    let thousand: u64 = if unit.len() == 2 && unit.ends_with('B') {
        1000
    } else {
        1024
    };
    let power = match unit.trim_end_matches("iB").trim_end_matches('B') {
        "" => 0,
        "K" | "k" => 1,
        "M" => 2,
        "G" => 3,
        "T" => 4,
        _ => return Err(wanted()),
    };
    number.checked_mul(thousand.pow(power)).ok_or_else(wanted)
}

/// A drive and a path in it. The drive may be left out where the store has one; a path starts with `/`.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct DrivePath {
    /// `[NAME|KEY] PATH`: a drive (may be left out where the store has one), and a path in it, which starts with `/`
    #[arg(value_names = ["NAME|KEY", "PATH"], num_args = 1..=2, required = true)]
    pub(crate) at: Vec<String>,
}

#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct MirrorOptions {
    /// Remove what the source has not
    #[arg(long)]
    pub(crate) prune: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Leave out what matches (repeatable)
    #[arg(long, value_name = "GLOB")]
    pub(crate) ignore: Vec<String>,
}

#[derive(Debug, Clone, Subcommand, Serialize, Deserialize)]
pub(crate) enum DriveCommand {
    /// Make a drive
    Create {
        /// Its name in this store
        name: String,
    },
    /// List the files of a drive, or of one folder in it
    #[command(override_usage = "pome drive ls [OPTIONS] [NAME|KEY] [FOLDER]")]
    Ls {
        /// `[NAME|KEY] [FOLDER]`: a drive (may be left out where the store has one), and a folder in it, which starts with `/`
        #[arg(value_names = ["NAME|KEY", "FOLDER"], num_args = 0..=2)]
        at: Vec<String>,
        /// Only what lies directly in the folder
        #[arg(long)]
        shallow: bool,
    },
    /// Write a file's bytes to stdout
    #[command(override_usage = "pome drive get [OPTIONS] [NAME|KEY] <PATH>")]
    Get(DrivePath),
    /// Put a file, from FILE or stdin
    #[command(override_usage = "pome drive put [OPTIONS] [NAME|KEY] <PATH> [FILE]")]
    Put {
        /// `[NAME|KEY] PATH [FILE]`: a path in the drive starts with `/`; without FILE, stdin is read
        #[arg(value_names = ["NAME|KEY", "PATH", "FILE"], num_args = 1..=3, required = true)]
        at: Vec<String>,
        /// Mark it executable
        #[arg(long)]
        executable: bool,
    },
    /// Remove a file
    #[command(override_usage = "pome drive rm [OPTIONS] [NAME|KEY] <PATH>")]
    Rm(DrivePath),
    /// Show one entry
    #[command(override_usage = "pome drive entry [OPTIONS] [NAME|KEY] <PATH>")]
    Entry(DrivePath),
    /// Print each change as it is published
    Watch {
        /// The drive (may be left out where the store has one)
        #[arg(value_name = "NAME|KEY")]
        drive: Option<String>,
    },
    /// Copy a folder into a drive, writing only what differs
    #[command(override_usage = "pome drive import [OPTIONS] [NAME|KEY] <DIR>")]
    Import {
        /// `[NAME|KEY] DIR`
        #[arg(value_names = ["NAME|KEY", "DIR"], num_args = 1..=2, required = true)]
        at: Vec<String>,
        #[command(flatten)]
        options: MirrorOptions,
    },
    /// Copy a drive into a folder, writing only what differs
    #[command(override_usage = "pome drive export [OPTIONS] [NAME|KEY] <DIR>")]
    Export {
        /// `[NAME|KEY] DIR`
        #[arg(value_names = ["NAME|KEY", "DIR"], num_args = 1..=2, required = true)]
        at: Vec<String>,
        #[command(flatten)]
        options: MirrorOptions,
    },
    /// Make B like A; each is a drive (NAME or KEY) or a folder (a path with a `/` in it)
    Mirror {
        /// From
        a: String,
        /// To
        b: String,
        #[command(flatten)]
        options: MirrorOptions,
    },
    /// What changed between two versions
    #[command(override_usage = "pome drive diff [OPTIONS] [NAME|KEY] <V1> <V2>")]
    Diff {
        /// `[NAME|KEY] V1 V2`
        #[arg(value_names = ["NAME|KEY", "V1", "V2"], num_args = 2..=3, required = true)]
        at: Vec<String>,
    },
    /// Every change, oldest first
    History {
        /// The drive (may be left out where the store has one)
        #[arg(value_name = "NAME|KEY")]
        drive: Option<String>,
    },
    /// The versions at which a reader sees a whole tree
    Versions {
        /// The drive (may be left out where the store has one)
        #[arg(value_name = "NAME|KEY")]
        drive: Option<String>,
    },
    /// Say which versions the drive keeps here, from now on; what it does not keep is dropped at once
    Set {
        /// The drive (may be left out where the store has one)
        #[arg(value_name = "NAME|KEY")]
        drive: Option<String>,
        #[command(flatten)]
        keep: KeepArgs,
    },
    /// Drop now what the drive does not keep, and say what that freed
    Gc {
        /// The drive (may be left out where the store has one)
        #[arg(value_name = "NAME|KEY")]
        drive: Option<String>,
    },
    /// Fetch a file, or all files below a folder, and keep them here whatever the store's limit is
    #[command(override_usage = "pome drive pin [OPTIONS] [NAME|KEY] <PATH>")]
    Pin(DrivePath),
    /// Drop the contents of a file, or of all files below a folder, from this store; peers have them
    #[command(override_usage = "pome drive evict [OPTIONS] [NAME|KEY] <PATH>")]
    Evict(DrivePath),
    /// Fetch a file, or all files below a folder
    #[command(override_usage = "pome drive prefetch [OPTIONS] [NAME|KEY] <PATH>")]
    Prefetch(DrivePath),
    /// Keys, version and sizes
    Info {
        /// The drive (may be left out where the store has one)
        #[arg(value_name = "NAME|KEY")]
        drive: Option<String>,
    },
}

#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct ShareArgs {
    /// What is served [default: all of the store]
    #[arg(value_name = "NAME|KEY")]
    pub(crate) targets: Vec<String>,
    /// Take connections here, too, by secret stream on TCP; port 0 takes any free one
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    pub(crate) listen: Option<String>,
}

#[derive(Debug, Clone, Subcommand, Serialize, Deserialize)]
pub(crate) enum CoreCommand {
    /// Make a core
    Create {
        /// Its name in this store
        name: String,
    },
    /// List the cores of the store
    Ls,
    /// Append blocks: the values, a file, or (with neither) each line of stdin as it comes
    Append {
        /// The core; made when it is missing
        name: String,
        /// One block each
        values: Vec<String>,
        /// The bytes of this file as one block
        #[arg(long, value_name = "F", conflicts_with = "values")]
        #[serde(with = "path::option")]
        file: Option<PathBuf>,
        /// Wait for the disk at each commit, not only at the end
        #[arg(long)]
        synced: bool,
        /// Print `{"length":…}` when blocks are committed
        #[arg(long)]
        ack: bool,
    },
    /// Write a block's bytes to stdout
    Get {
        /// The core
        #[arg(value_name = "NAME|KEY")]
        core: String,
        /// The block's number
        index: u64,
    },
    /// Keys and lengths
    Info {
        /// The core
        #[arg(value_name = "NAME|KEY")]
        core: String,
    },
    /// Cut a core to a length; its fork grows by one
    Truncate {
        /// The core
        name: String,
        /// The new length, in blocks
        length: u64,
    },
    /// Drop local blocks
    Clear {
        /// The core
        #[arg(value_name = "NAME|KEY")]
        core: String,
        /// The first block
        start: u64,
        /// One past the last block [default: START + 1]
        end: Option<u64>,
    },
    /// Get all blocks of a core from peers
    Download {
        /// The core
        #[arg(value_name = "KEY")]
        core: String,
        /// Go on with what is appended later
        #[arg(long)]
        live: bool,
    },
    /// Verify every block, tree node and signature of a core
    Audit {
        /// The core
        #[arg(value_name = "NAME|KEY")]
        core: String,
    },
}

#[derive(Debug, Clone, Copy, Default, ValueEnum, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Text
    #[default]
    #[value(name = "utf-8")]
    Utf8,
    /// Lowercase hex
    Hex,
    /// JSON
    Json,
}

#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct BeeRange {
    /// Keys greater than this
    #[arg(long, value_name = "KEY")]
    pub(crate) gt: Option<String>,
    /// Keys greater than or equal to this
    #[arg(long, value_name = "KEY")]
    pub(crate) gte: Option<String>,
    /// Keys less than this
    #[arg(long, value_name = "KEY")]
    pub(crate) lt: Option<String>,
    /// Keys less than or equal to this
    #[arg(long, value_name = "KEY")]
    pub(crate) lte: Option<String>,
    /// Keys that start with this
    #[arg(long, conflicts_with_all = ["gt", "gte", "lt", "lte"])]
    pub(crate) prefix: Option<String>,
    /// From the last to the first
    #[arg(long)]
    pub(crate) reverse: bool,
    /// At most this many
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
}

#[derive(Debug, Clone, Subcommand, Serialize, Deserialize)]
pub(crate) enum BeeCommand {
    /// Set a key
    Put {
        /// The bee; made when it is missing
        name: String,
        /// The key
        key: String,
        /// The value
        value: String,
        /// How keys and values are written on the command line
        #[arg(long, value_enum, default_value_t)]
        encoding: Encoding,
    },
    /// Write a value's bytes to stdout
    Get {
        /// The bee
        #[arg(value_name = "NAME|KEY")]
        bee: String,
        /// The key
        key: String,
        /// How the key is written on the command line
        #[arg(long, value_enum, default_value_t)]
        encoding: Encoding,
    },
    /// Remove a key
    Del {
        /// The bee
        name: String,
        /// The key
        key: String,
        /// How the key is written on the command line
        #[arg(long, value_enum, default_value_t)]
        encoding: Encoding,
    },
    /// List entries in key order
    Ls {
        /// The bee
        #[arg(value_name = "NAME|KEY")]
        bee: String,
        #[command(flatten)]
        range: BeeRange,
        /// How keys and values are written
        #[arg(long, value_enum, default_value_t)]
        encoding: Encoding,
    },
    /// Read `{"type":"put","key":…,"value":…}` and `{"type":"del","key":…}` lines from stdin and commit them as one batch
    Batch {
        /// The bee; made when it is missing
        name: String,
        /// How keys and values are written
        #[arg(long, value_enum, default_value_t)]
        encoding: Encoding,
    },
    /// Every change, oldest first
    History {
        /// The bee
        #[arg(value_name = "NAME|KEY")]
        bee: String,
        /// From the newest to the oldest
        #[arg(long)]
        reverse: bool,
        /// At most this many
        #[arg(long, value_name = "N")]
        limit: Option<u64>,
        /// How keys and values are written
        #[arg(long, value_enum, default_value_t)]
        encoding: Encoding,
    },
    /// What changed between two versions
    Diff {
        /// The bee
        #[arg(value_name = "NAME|KEY")]
        bee: String,
        /// The older version
        v1: u64,
        /// The newer version [default: now]
        v2: Option<u64>,
        /// How keys and values are written
        #[arg(long, value_enum, default_value_t)]
        encoding: Encoding,
    },
    /// Keys and version
    Info {
        /// The bee
        #[arg(value_name = "NAME|KEY")]
        bee: String,
    },
}

#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct NewKey {
    /// The new key file; made where there is none
    #[arg(long, value_name = "F", conflicts_with = "new_passphrase_file")]
    #[serde(skip)]
    pub(crate) new_key_file: Option<PathBuf>,
    /// A file with the new passphrase; `-` is a line of stdin [default: asks, on a terminal]
    #[arg(long, value_name = "F|-")]
    #[serde(skip)]
    pub(crate) new_passphrase_file: Option<PathBuf>,
    /// What is in them.
    #[arg(skip)]
    pub(crate) key: Option<Handed>,
}

#[derive(Debug, Clone, Subcommand, Serialize, Deserialize)]
pub(crate) enum StoreCommand {
    /// Make a store
    Init {
        /// Encrypt everything that tells something, under a key file (made where there is none) or a passphrase
        #[arg(long)]
        encrypt: bool,
    },
    /// Give an encrypted store another key; the old one opens nothing any more
    Rekey(NewKey),
    /// What the store holds, what of it is dead, and what it takes on disk
    Info {
        /// Also what each core takes (walks all keys)
        #[arg(long)]
        cores: bool,
    },
    /// Bound what the store takes of the disk: what peers can give again goes first, what is its own or pinned never
    Limit {
        /// `500M`, `20G` (1024s), `20GB` (1000s), a count of bytes, or `none` [default: say what it is]
        #[arg(value_name = "SIZE", value_parser = size)]
        size: Option<Size>,
    },
    /// Give the space of all that is dead back to the disk now (the store does so by itself, at leisure)
    Compact,
    /// Read and verify every byte
    Check {
        /// Put right what can be: lost blocks become missing, so that peers can bring them back
        #[arg(long)]
        repair: bool,
    },
    /// Copy the store into a folder while it is in use; only what is new is copied the next time
    Backup {
        /// The folder; made when it is missing
        #[serde(with = "path")]
        dir: PathBuf,
    },
    /// Make a store from a backup
    Restore {
        /// The folder with the backup
        #[serde(with = "path")]
        dir: PathBuf,
    },
    /// Say that no other copy of a store that was copied or restored is in use, so that it signs again
    Adopt,
}

#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct DhtNodeArgs {
    /// The UDP port [default: 49737, or any other where that is taken]
    #[arg(long)]
    pub(crate) port: Option<u16>,
    /// The address to be bound to; the first node of a network (`--bootstrap none`) must be told the one that others reach it by
    #[arg(long, value_name = "IP")]
    pub(crate) host: Option<Ipv4Addr>,
    /// So many of them
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "port", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) nodes: u16,
    /// Never become one that others are told of
    #[arg(long, conflicts_with = "persistent")]
    pub(crate) ephemeral: bool,
    /// Become one that others are told of at once, not after 20 minutes
    #[arg(long)]
    pub(crate) persistent: bool,
    /// Hand packets on for peers that name this node with `--relay-through`
    #[arg(long)]
    pub(crate) blind_relay: bool,
    /// Lend this node over TCP to those who name it with `--relay`, as UDP is blocked where they are
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    pub(crate) relay_tcp: Option<String>,
    /// A file with the 32 bytes that the key pair of the relays is made from, as such or in hex [default: a new key pair]
    #[arg(long, value_name = "F")]
    pub(crate) seed_file: Option<PathBuf>,
}

/// What peers meet under.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct Topic {
    /// 32 bytes in hex or z-base-32
    #[arg(value_name = "TOPIC")]
    pub(crate) topic: String,
    /// TOPIC is the key of a core, bee or drive: its peers meet under its discovery key
    #[arg(long)]
    pub(crate) core: bool,
}

#[derive(Debug, Clone, Subcommand, Serialize, Deserialize)]
pub(crate) enum DhtCommand {
    /// Run a node until it is stopped
    Node(DhtNodeArgs),
    /// Run a network of nodes on loopback until it is stopped, for tests
    Testnet {
        /// How many nodes
        #[arg(value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
        nodes: u16,
        /// The UDP port of the first [default: any]
        #[arg(long, default_value_t = 0, hide_default_value = true)]
        port: u16,
    },
    /// Ask a node whether it is there
    Ping {
        /// The node
        #[arg(value_name = "HOST:PORT", value_parser = address)]
        node: String,
    },
    /// Print the peers that announced themselves under a topic
    Lookup(Topic),
    /// Announce a peer under a topic; nodes forget it after 20 minutes
    Announce {
        #[command(flatten)]
        topic: Topic,
        /// A file with the 32 bytes that the key pair is made from, as such or in hex [default: a new key pair]
        #[arg(long, value_name = "F")]
        seed_file: Option<PathBuf>,
        /// Announce it again and again until this is stopped, then take it back
        #[arg(long)]
        live: bool,
    },
    /// Keep a value of at most 1,000 bytes in the DHT: under its hash, or (with --seed-file) under a public key; nodes forget it after two days
    Put {
        /// The value [default: stdin]
        value: Option<String>,
        /// A file with the 32 bytes that the key pair is made from, as such or in hex
        #[arg(long, value_name = "F")]
        seed_file: Option<PathBuf>,
        /// Which change of the value it is: more than the last one's
        #[arg(long, value_name = "N", default_value_t = 0, requires = "seed_file")]
        seq: u64,
    },
    /// Write a value's bytes to stdout
    Get {
        /// The hash of the value
        #[arg(value_name = "HASH|KEY")]
        key: String,
        /// It is kept under a public key
        #[arg(long)]
        mutable: bool,
        /// The least change of the value that will do
        #[arg(long, value_name = "N", default_value_t = 0, requires = "mutable")]
        seq: u64,
    },
}
