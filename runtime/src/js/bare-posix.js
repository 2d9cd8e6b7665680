// bare-posix 1.0: users and groups of the process.

for (const name of ['getuid', 'geteuid', 'getgid', 'getegid', 'getgroups']) exports[name] = native[name]

// The identity of a process belongs to the program that embeds the runtime: threads of a pool share it.
for (const name of ['setuid', 'seteuid', 'setgid', 'setegid']) {
  exports[name] = (id) => {
    if (native['g' + name.slice(1)]() === id) return
    throw Object.assign(new Error('operation not permitted'), { code: 'EPERM' })
  }
}
