//! The names and texts of the operating system's errors, as libuv has them.

use rustix::io::Errno;
use std::io;

/// What Linux calls an error, its name, and its text in libuv.
const ROWS: &[(Errno, &str, &str)] = &[
    (Errno::TOOBIG, "E2BIG", "argument list too long"),
    (Errno::ACCESS, "EACCES", "permission denied"),
    (Errno::ADDRINUSE, "EADDRINUSE", "address already in use"),
    (
        Errno::ADDRNOTAVAIL,
        "EADDRNOTAVAIL",
        "address not available",
    ),
    (
        Errno::AFNOSUPPORT,
        "EAFNOSUPPORT",
        "address family not supported",
    ),
    (Errno::AGAIN, "EAGAIN", "resource temporarily unavailable"),
    (Errno::ALREADY, "EALREADY", "connection already in progress"),
    (Errno::BADF, "EBADF", "bad file descriptor"),
    (Errno::BUSY, "EBUSY", "resource busy or locked"),
    (Errno::CANCELED, "ECANCELED", "operation canceled"),
    (
        Errno::CONNABORTED,
        "ECONNABORTED",
        "software caused connection abort",
    ),
    (Errno::CONNREFUSED, "ECONNREFUSED", "connection refused"),
    (Errno::CONNRESET, "ECONNRESET", "connection reset by peer"),
    (
        Errno::DESTADDRREQ,
        "EDESTADDRREQ",
        "destination address required",
    ),
    (Errno::EXIST, "EEXIST", "file already exists"),
    (
        Errno::FAULT,
        "EFAULT",
        "bad address in system call argument",
    ),
    (Errno::FBIG, "EFBIG", "file too large"),
    (Errno::HOSTUNREACH, "EHOSTUNREACH", "host is unreachable"),
    (Errno::INTR, "EINTR", "interrupted system call"),
    (Errno::INVAL, "EINVAL", "invalid argument"),
    (Errno::IO, "EIO", "i/o error"),
    (Errno::ISCONN, "EISCONN", "socket is already connected"),
    (Errno::ISDIR, "EISDIR", "illegal operation on a directory"),
    (Errno::LOOP, "ELOOP", "too many symbolic links encountered"),
    (Errno::MFILE, "EMFILE", "too many open files"),
    (Errno::MSGSIZE, "EMSGSIZE", "message too long"),
    (Errno::NAMETOOLONG, "ENAMETOOLONG", "name too long"),
    (Errno::NETDOWN, "ENETDOWN", "network is down"),
    (Errno::NETUNREACH, "ENETUNREACH", "network is unreachable"),
    (Errno::NFILE, "ENFILE", "file table overflow"),
    (Errno::NOBUFS, "ENOBUFS", "no buffer space available"),
    (Errno::NODATA, "ENODATA", "no data available"),
    (Errno::NODEV, "ENODEV", "no such device"),
    (Errno::NOENT, "ENOENT", "no such file or directory"),
    (Errno::NOMEM, "ENOMEM", "not enough memory"),
    (Errno::NOPROTOOPT, "ENOPROTOOPT", "protocol not available"),
    (Errno::NOSPC, "ENOSPC", "no space left on device"),
    (Errno::NOSYS, "ENOSYS", "function not implemented"),
    (Errno::NOTCONN, "ENOTCONN", "socket is not connected"),
    (Errno::NOTDIR, "ENOTDIR", "not a directory"),
    (Errno::NOTEMPTY, "ENOTEMPTY", "directory not empty"),
    (Errno::NOTSOCK, "ENOTSOCK", "socket operation on non-socket"),
    (
        Errno::NOTSUP,
        "ENOTSUP",
        "operation not supported on socket",
    ),
    (Errno::NOTTY, "ENOTTY", "inappropriate ioctl for device"),
    (Errno::NXIO, "ENXIO", "no such device or address"),
    (
        Errno::OVERFLOW,
        "EOVERFLOW",
        "value too large for defined data type",
    ),
    (Errno::PERM, "EPERM", "operation not permitted"),
    (Errno::PIPE, "EPIPE", "broken pipe"),
    (Errno::PROTO, "EPROTO", "protocol error"),
    (
        Errno::PROTONOSUPPORT,
        "EPROTONOSUPPORT",
        "protocol not supported",
    ),
    (
        Errno::PROTOTYPE,
        "EPROTOTYPE",
        "protocol wrong type for socket",
    ),
    (Errno::RANGE, "ERANGE", "result too large"),
    (Errno::ROFS, "EROFS", "read-only file system"),
    (
        Errno::SHUTDOWN,
        "ESHUTDOWN",
        "cannot send after transport endpoint shutdown",
    ),
    (Errno::SPIPE, "ESPIPE", "invalid seek"),
    (Errno::SRCH, "ESRCH", "no such process"),
    (Errno::STALE, "ESTALE", "stale file handle"),
    (Errno::TIMEDOUT, "ETIMEDOUT", "connection timed out"),
    (Errno::TXTBSY, "ETXTBSY", "text file is busy"),
    (Errno::XDEV, "EXDEV", "cross-device link not permitted"),
    (Errno::HOSTDOWN, "EHOSTDOWN", "host is down"),
    (Errno::ILSEQ, "EILSEQ", "illegal byte sequence"),
    (Errno::MLINK, "EMLINK", "too many links"),
    (Errno::NOEXEC, "ENOEXEC", "exec format error"),
    (Errno::NONET, "ENONET", "machine is not on the network"),
    (Errno::REMOTEIO, "EREMOTEIO", "remote I/O error"),
    (
        Errno::SOCKTNOSUPPORT,
        "ESOCKTNOSUPPORT",
        "socket type not supported",
    ),
    (Errno::UNATCH, "EUNATCH", "protocol driver not attached"),
];

/// The errno of an error, positive; that of `EIO` where the error does not come from the operating system and is of no kind known here.
pub(crate) fn number(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or_else(|| {
        let errno = match error.kind() {
            io::ErrorKind::NotFound => Errno::NOENT,
            io::ErrorKind::PermissionDenied => Errno::ACCESS,
            io::ErrorKind::AlreadyExists => Errno::EXIST,
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => Errno::INVAL,
            io::ErrorKind::TimedOut => Errno::TIMEDOUT,
            io::ErrorKind::BrokenPipe => Errno::PIPE,
            io::ErrorKind::ConnectionRefused => Errno::CONNREFUSED,
            io::ErrorKind::ConnectionReset => Errno::CONNRESET,
            io::ErrorKind::NotConnected => Errno::NOTCONN,
            io::ErrorKind::AddrInUse => Errno::ADDRINUSE,
            io::ErrorKind::Unsupported => Errno::NOTSUP,
            _ => Errno::IO,
        };
        errno.raw_os_error()
    })
}

/// The name (`ENOENT`) and the text of an error.
pub(crate) fn describe(error: &io::Error) -> (&'static str, &'static str) {
    let number = number(error);
    ROWS.iter()
        .find(|(errno, ..)| errno.raw_os_error() == number)
        .map_or(("UNKNOWN", "unknown error"), |(_, name, text)| (name, text))
}

/// Every error with its number, for `os.constants.errno` and the like.
pub(crate) fn all() -> impl Iterator<Item = (&'static str, i32, &'static str)> {
    ROWS.iter()
        .map(|(errno, name, text)| (*name, errno.raw_os_error(), *text))
}
