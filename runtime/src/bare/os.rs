//! bare-os: the machine, the process, the user.

use std::{fs, path::PathBuf};

use nix::{
    sys::resource::{Usage, UsageWho, getrusage},
    unistd::{Gid, Group, Uid, User},
};
use parking_lot::Mutex;
use rquickjs::{Ctx, Function, Object, prelude::Func};
use rustix::process::{self, Pid};

use super::{environment, failure::Failure, reply::Reply};
use crate::{
    engine::{errno, host::Host},
    permissions,
};

/// Signals of Linux by name, as `os.constants.signals` has them.
pub(crate) const SIGNALS: &[(&str, i32)] = &[
    ("SIGHUP", 1),
    ("SIGINT", 2),
    ("SIGQUIT", 3),
    ("SIGILL", 4),
    ("SIGTRAP", 5),
    ("SIGABRT", 6),
    ("SIGIOT", 6),
    ("SIGBUS", 7),
    ("SIGFPE", 8),
    ("SIGKILL", 9),
    ("SIGUSR1", 10),
    ("SIGSEGV", 11),
    ("SIGUSR2", 12),
    ("SIGPIPE", 13),
    ("SIGALRM", 14),
    ("SIGTERM", 15),
    ("SIGCHLD", 17),
    ("SIGSTKFLT", 16),
    ("SIGCONT", 18),
    ("SIGSTOP", 19),
    ("SIGTSTP", 20),
    ("SIGTTIN", 21),
    ("SIGTTOU", 22),
    ("SIGURG", 23),
    ("SIGXCPU", 24),
    ("SIGXFSZ", 25),
    ("SIGVTALRM", 26),
    ("SIGPROF", 27),
    ("SIGWINCH", 28),
    ("SIGIO", 29),
    ("SIGPOLL", 29),
    ("SIGPWR", 30),
    ("SIGSYS", 31),
];

/// What `ps` shows of the process, once a program has changed it.
static TITLE: Mutex<Option<String>> = Mutex::new(None);

type Answer = Result<Reply, Failure>;

/// Adds a function that may fail.
fn define<'js, F>(native: &Object<'js>, name: &'static str, answer: F) -> rquickjs::Result<()>
where
    F: Fn() -> Answer + 'static,
{
    let function = Function::new(native.ctx().clone(), move |ctx: Ctx<'js>| {
        answer().map_err(|failure| failure.throw(&ctx))
    })?;
    native.set(name, function)
}

/// Adds a function of one value that may fail.
fn define_of<'js, A, F>(native: &Object<'js>, name: &'static str, answer: F) -> rquickjs::Result<()>
where
    A: rquickjs::FromJs<'js> + 'js,
    F: Fn(A) -> Answer + 'static,
{
    let function = Function::new(native.ctx().clone(), move |ctx: Ctx<'js>, value: A| {
        answer(value).map_err(|failure| failure.throw(&ctx))
    })?;
    native.set(name, function)
}

/// Asks whether the program may steer that process: itself it always may.
fn permit(ctx: &Ctx<'_>, pid: i32) -> rquickjs::Result<()> {
    if u32::try_from(pid) == Ok(std::process::id()) {
        return Ok(());
    }
    permissions::process(ctx, &format!("the process {pid}")).map_err(|refused| refused.throw(ctx))
}

/// Adds a function of two numbers that may fail.
fn define_of_two<'js, F>(
    native: &Object<'js>,
    name: &'static str,
    answer: F,
) -> rquickjs::Result<()>
where
    F: Fn(&Ctx<'js>, i32, i32) -> rquickjs::Result<Reply> + 'static,
{
    let function = Function::new(
        native.ctx().clone(),
        move |ctx: Ctx<'js>, first: i32, second: i32| answer(&ctx, first, second),
    )?;
    native.set(name, function)
}

pub(crate) fn native<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    define_machine(&native)?;
    define_process(&native)?;
    define_user(&native)?;
    // Of what the program did not set itself it may not see all.
    let sees = |ctx: &Ctx<'_>, name: &str| {
        environment::is_own(name) || Host::get(ctx).permissions.allows_variable(name)
    };
    let names = move |ctx: Ctx<'js>| {
        let mut names = environment::names();
        names.retain(|name| sees(&ctx, name));
        names
    };
    let get =
        move |ctx: Ctx<'js>, name: String| environment::get(&name).filter(|_| sees(&ctx, &name));
    native.set("getEnvKeys", Function::new(ctx.clone(), names)?)?;
    native.set("getEnv", Function::new(ctx.clone(), get)?)?;
    native.set(
        "setEnv",
        Func::from(|name: String, value: String| environment::set(&name, Some(&value))),
    )?;
    native.set(
        "unsetEnv",
        Func::from(|name: String| environment::set(&name, None)),
    )?;
    Ok(native)
}

fn define_machine(native: &Object<'_>) -> rquickjs::Result<()> {
    let uname = rustix::system::uname();
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    native.set("type", text(uname.sysname()))?;
    native.set("version", text(uname.version()))?;
    native.set("release", text(uname.release()))?;
    native.set("machine", text(uname.machine()))?;
    native.set("isLittleEndian", cfg!(target_endian = "little"))?;
    define(native, "hostname", || {
        let name = rustix::system::uname();
        Ok(Reply::Text(name.nodename().to_string_lossy().into_owned()))
    })?;
    define(native, "availableParallelism", || {
        Ok(Reply::count(
            std::thread::available_parallelism().map_or(1, usize::from),
        ))
    })?;
    define(native, "totalmem", || Ok(Reply::Number(memory("MemTotal"))))?;
    define(native, "freemem", || {
        Ok(Reply::Number(memory("MemAvailable")))
    })?;
    define(native, "availableMemory", || {
        let free = memory("MemAvailable");
        Ok(Reply::Number(match memory_limit() {
            Some(limit) => free.min((limit - resident()).max(0.0)),
            None => free,
        }))
    })?;
    define(native, "constrainedMemory", || {
        Ok(Reply::Number(memory_limit().unwrap_or(-1.0)))
    })?;
    define(native, "uptime", || {
        Ok(Reply::List(numbers("/proc/uptime", 1)?))
    })?;
    define(native, "loadavg", || {
        Ok(Reply::List(numbers("/proc/loadavg", 3)?))
    })?;
    define(native, "cpus", cpus)?;
    define(native, "networkInterfaces", interfaces)
}

/// The first `count` numbers of a file.
fn numbers(path: &str, count: usize) -> Result<Vec<Reply>, Failure> {
    Ok(fs::read_to_string(path)?
        .split_whitespace()
        .take(count)
        .map(|word| Reply::Number(word.parse().unwrap_or(0.0)))
        .collect())
}

/// A row of the system's account of memory, in bytes.
fn memory(row: &str) -> f64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix(row)?.strip_prefix(':'))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok())
        .map_or(0.0, |kibibytes| kibibytes * 1024.0)
}

/// What the process may use at most, in bytes, where its control group says so.
fn memory_limit() -> Option<f64> {
    let group = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = group.lines().find_map(|line| line.strip_prefix("0::"))?;
    let file = format!("/sys/fs/cgroup{}/memory.max", path.trim_end_matches('/'));
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// What the process has in memory, in bytes.
fn resident() -> f64 {
    let pages = fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split_whitespace().nth(1)?.parse::<f64>().ok());
    pages.unwrap_or(0.0) * rustix::param::page_size() as f64
}

fn cpus() -> Answer {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        info.lines()
            .filter(|line| line.starts_with(name))
            .filter_map(|line| line.split_once(':'))
            .map(|(_, value)| value.trim().to_owned())
            .collect::<Vec<_>>()
    };
    let (models, speeds) = (field("model name"), field("cpu MHz"));
    let stat = fs::read_to_string("/proc/stat")?;
    // Times are in ticks of a hundredth of a second; programs get milliseconds.
    const TICK_MS: f64 = 10.0;
    let rows = stat
        .lines()
        .filter(|line| line.starts_with("cpu") && !line.starts_with("cpu "));
    let cpus = rows.enumerate().map(|(index, line)| {
        let times: Vec<f64> = line
            .split_whitespace()
            .skip(1)
            .map(|word| word.parse().unwrap_or(0.0) * TICK_MS)
            .collect();
        let time = |at: usize| Reply::Number(times.get(at).copied().unwrap_or(0.0));
        Reply::Map(vec![
            (
                "model",
                Reply::Text(models.get(index).cloned().unwrap_or_default()),
            ),
            (
                "speed",
                Reply::Number(
                    speeds
                        .get(index)
                        .and_then(|speed| speed.parse::<f64>().ok())
                        .map_or(0.0, f64::trunc),
                ),
            ),
            (
                "times",
                Reply::Map(vec![
                    ("user", time(0)),
                    ("nice", time(1)),
                    ("sys", time(2)),
                    ("idle", time(3)),
                    ("irq", time(5)),
                ]),
            ),
        ])
    });
    Ok(Reply::List(cpus.collect()))
}

/// Each address of each interface that is up, with the interface's name.
fn interfaces() -> Answer {
    let addresses = nix::ifaddrs::getifaddrs().map_err(std::io::Error::from)?;
    let mut rows = Vec::new();
    for entry in addresses {
        let (Some(address), Some(netmask)) = (entry.address, entry.netmask) else {
            continue;
        };
        let flags =
            nix::net::if_::InterfaceFlags::IFF_UP | nix::net::if_::InterfaceFlags::IFF_RUNNING;
        if !entry.flags.contains(flags) {
            continue;
        }
        let mac = fs::read_to_string(format!("/sys/class/net/{}/address", entry.interface_name))
            .map_or_else(|_| "00:00:00:00:00:00".to_owned(), |mac| mac.trim().into());
        let (address, netmask, family, bits, scope) = if let (Some(address), Some(mask)) =
            (address.as_sockaddr_in(), netmask.as_sockaddr_in())
        {
            let (ip, mask) = (address.ip(), mask.ip());
            let bits = mask.to_bits().count_ones();
            (ip.to_string(), mask.to_string(), "IPv4", bits, None)
        } else if let (Some(address), Some(mask)) =
            (address.as_sockaddr_in6(), netmask.as_sockaddr_in6())
        {
            let (ip, mask) = (address.ip(), mask.ip());
            let bits = mask.to_bits().count_ones();
            let scope = Some(address.scope_id());
            (ip.to_string(), mask.to_string(), "IPv6", bits, scope)
        } else {
            continue;
        };
        let is_internal = entry
            .flags
            .contains(nix::net::if_::InterfaceFlags::IFF_LOOPBACK);
        let mut row = vec![
            ("name", Reply::Text(entry.interface_name)),
            ("cidr", Reply::Text(format!("{address}/{bits}"))),
            ("address", Reply::Text(address)),
            ("netmask", Reply::Text(netmask)),
            ("family", Reply::from(family)),
            ("mac", Reply::Text(mac)),
            ("internal", Reply::Bool(is_internal)),
        ];
        if let Some(scope) = scope {
            row.push(("scopeid", Reply::Number(scope.into())));
        }
        rows.push(Reply::Map(row));
    }
    Ok(Reply::List(rows))
}

fn define_process(native: &Object<'_>) -> rquickjs::Result<()> {
    define(native, "execPath", || Ok(path(std::env::current_exe()?)))?;
    define(native, "cwd", || Ok(path(std::env::current_dir()?)))?;
    let change = Function::new(native.ctx().clone(), |ctx: Ctx<'_>, path: String| {
        permissions::link(&ctx, &path).map_err(|refused| refused.throw(&ctx))?;
        std::env::set_current_dir(path).map_err(|error| Failure::from(error).throw(&ctx))
    })?;
    native.set("chdir", change)?;
    define(native, "pid", || {
        Ok(Reply::Number(std::process::id().into()))
    })?;
    define(native, "ppid", || {
        let parent = process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
        Ok(Reply::Number(parent.into()))
    })?;
    define_of_two(native, "kill", |ctx, pid, signal| {
        permit(ctx, pid)?;
        kill(pid, signal).map_err(|failure| failure.throw(ctx))
    })?;
    define(native, "cpuUsage", || cpu_usage(UsageWho::RUSAGE_SELF))?;
    define(native, "threadCpuUsage", || {
        cpu_usage(UsageWho::RUSAGE_THREAD)
    })?;
    define(native, "resourceUsage", resource_usage)?;
    define(native, "rss", || Ok(Reply::Number(resident())))?;
    define(native, "getProcessTitle", || {
        let title = TITLE.lock().clone();
        Ok(Reply::Text(title.unwrap_or_else(|| {
            std::env::args().next().unwrap_or_default()
        })))
    })?;
    define_of(native, "setProcessTitle", |title: String| {
        // The system keeps 15 bytes for the name of a thread.
        let short: Vec<u8> = title.bytes().take(15).filter(|byte| *byte != 0).collect();
        if let Ok(short) = std::ffi::CString::new(short) {
            rustix::thread::set_name(&short)?;
        }
        *TITLE.lock() = Some(title);
        Ok(Reply::Nothing)
    })?;
    define_of(native, "getPriority", |pid: i32| {
        let priority = process::getpriority_process(find(pid)?)?;
        Ok(Reply::Number(priority.into()))
    })?;
    define_of_two(native, "setPriority", |ctx, pid, priority| {
        permit(ctx, pid)?;
        let set = || -> Answer {
            process::setpriority_process(find(pid)?, priority)?;
            Ok(Reply::Nothing)
        };
        set().map_err(|failure| failure.throw(ctx))
    })?;
    Ok(())
}

/// A process by number; 0 is this one.
fn find(pid: i32) -> Result<Option<Pid>, Failure> {
    match pid {
        0 => Ok(None),
        pid => match Pid::from_raw(pid) {
            Some(pid) if pid.as_raw_nonzero().get() > 0 => Ok(Some(pid)),
            _ => Err(Failure::named("ESRCH")),
        },
    }
}

/// Sends a signal; 0 only asks whether the process is there. A negative number is a group, 0 this one's.
pub(crate) fn kill(pid: i32, signal: i32) -> Answer {
    let signal = match signal {
        0 => None,
        other => {
            Some(nix::sys::signal::Signal::try_from(other).map_err(|_| Failure::named("EINVAL"))?)
        }
    };
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal)
        .map_err(std::io::Error::from)?;
    Ok(Reply::Nothing)
}

fn usage(who: UsageWho) -> Result<Usage, Failure> {
    Ok(getrusage(who).map_err(std::io::Error::from)?)
}

fn microseconds(time: nix::sys::time::TimeVal) -> Reply {
    Reply::Number(time.tv_sec() as f64 * 1_000_000.0 + time.tv_usec() as f64)
}

fn cpu_usage(who: UsageWho) -> Answer {
    let usage = usage(who)?;
    Ok(Reply::Map(vec![
        ("user", microseconds(usage.user_time())),
        ("system", microseconds(usage.system_time())),
    ]))
}

fn resource_usage() -> Answer {
    let usage = usage(UsageWho::RUSAGE_SELF)?;
    let number = |value: i64| Reply::Number(value as f64);
    Ok(Reply::Map(vec![
        ("userCPUTime", microseconds(usage.user_time())),
        ("systemCPUTime", microseconds(usage.system_time())),
        ("maxRSS", number(usage.max_rss())),
        ("sharedMemorySize", number(usage.shared_integral())),
        ("unsharedDataSize", number(usage.unshared_data_integral())),
        ("unsharedStackSize", number(usage.unshared_stack_integral())),
        ("minorPageFault", number(usage.minor_page_faults())),
        ("majorPageFault", number(usage.major_page_faults())),
        ("swappedOut", number(usage.full_swaps())),
        ("fsRead", number(usage.block_reads())),
        ("fsWrite", number(usage.block_writes())),
        ("ipcSent", number(usage.ipc_sends())),
        ("ipcReceived", number(usage.ipc_receives())),
        ("signalsCount", number(usage.signals())),
        (
            "voluntaryContextSwitches",
            number(usage.voluntary_context_switches()),
        ),
        (
            "involuntaryContextSwitches",
            number(usage.involuntary_context_switches()),
        ),
    ]))
}

fn define_user(native: &Object<'_>) -> rquickjs::Result<()> {
    define(native, "tmpdir", || {
        let named = ["TMPDIR", "TMP", "TEMP", "TEMPDIR"]
            .into_iter()
            .find_map(environment::get);
        let folder = named.unwrap_or_else(|| "/tmp".to_owned());
        Ok(Reply::from(match folder.strip_suffix('/') {
            Some(stem) if !stem.is_empty() => stem.to_owned(),
            _ => folder,
        }))
    })?;
    define(native, "homedir", || match environment::get("HOME") {
        Some(home) => Ok(Reply::Text(home)),
        None => Ok(path(user(None)?.dir)),
    })?;
    define_of(native, "userInfo", |uid: Option<u32>| {
        let user = user(uid)?;
        Ok(Reply::Map(vec![
            ("uid", Reply::Number(user.uid.as_raw().into())),
            ("gid", Reply::Number(user.gid.as_raw().into())),
            ("username", Reply::Text(user.name)),
            ("homedir", path(user.dir)),
            ("shell", path(user.shell)),
        ]))
    })?;
    define_of(native, "groupInfo", |gid: Option<u32>| {
        let gid = gid.map_or_else(Gid::current, Gid::from_raw);
        let Some(group) = Group::from_gid(gid).map_err(std::io::Error::from)? else {
            return Ok(Reply::Null);
        };
        let members = group.mem.into_iter().map(Reply::Text).collect();
        Ok(Reply::Map(vec![
            ("groupname", Reply::Text(group.name)),
            ("gid", Reply::Number(group.gid.as_raw().into())),
            ("members", Reply::List(members)),
        ]))
    })
}

fn user(uid: Option<u32>) -> Result<User, Failure> {
    let uid = uid.map_or_else(Uid::current, Uid::from_raw);
    User::from_uid(uid)
        .map_err(std::io::Error::from)?
        .ok_or_else(|| Failure::named("ENOENT"))
}

fn path(path: PathBuf) -> Reply {
    Reply::Text(path.to_string_lossy().into_owned())
}

/// `os.constants`: signals and errors by name.
pub(crate) fn constants<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    let signals = Object::new(ctx.clone())?;
    for (name, number) in SIGNALS {
        signals.set(*name, *number)?;
    }
    native.set("signals", signals)?;
    let errnos = Object::new(ctx.clone())?;
    for (name, number, _) in errno::all() {
        errnos.set(name, -number)?;
    }
    native.set("errnos", errnos)?;
    Ok(native)
}

/// bare-hrtime: nanoseconds since some point in the past.
pub(crate) fn clock<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    let nanoseconds = |ctx: Ctx<'js>| {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let nanoseconds = now.tv_sec * 1_000_000_000 + now.tv_nsec;
        rquickjs::BigInt::from_i64(ctx, nanoseconds)
    };
    native.set("now", Function::new(ctx.clone(), nanoseconds)?)?;
    Ok(native)
}

/// bare-posix: who runs the process.
pub(crate) fn posix<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    native.set("getuid", Func::from(|| process::getuid().as_raw()))?;
    native.set("geteuid", Func::from(|| process::geteuid().as_raw()))?;
    native.set("getgid", Func::from(|| process::getgid().as_raw()))?;
    native.set("getegid", Func::from(|| process::getegid().as_raw()))?;
    define(&native, "getgroups", || {
        let groups = process::getgroups()?;
        let numbers = groups.into_iter().map(|gid| gid.as_raw().into());
        Ok(Reply::List(numbers.map(Reply::Number).collect()))
    })?;
    Ok(native)
}
