// not in bare: its packages are not where it looks for them
const os = require('bare-os')
const process = require('bare-process')
const env = require('bare-env')
const hrtime = require('bare-hrtime')
const { isTTY } = require('bare-tty')

console.log(os.type(), os.platform() === process.platform, os.EOL === '\n', os.devNull)
console.log(os.pid() === process.pid, os.cwd() === process.cwd(), os.endianness())
for (const name of ['totalmem', 'freemem', 'availableParallelism', 'uptime']) console.log(name, os[name]() > 0)
console.log(os.cpus().length > 0, os.loadavg().length, os.userInfo().uid === process.getuid())
console.log(os.networkInterfaces().lo.some(({ address, family, internal }) => address === '127.0.0.1' && family === 'IPv4' && internal))
console.log(os.memoryUsage().rss > 0, os.cpuUsage().user >= 0, os.resourceUsage().maxRSS > 0)

env.POME_TEST = 1
console.log(env.POME_TEST, 'POME_TEST' in env, process.env.POME_TEST, os.getEnvKeys().includes('POME_TEST'))
delete env.POME_TEST
console.log(env.POME_TEST, 'POME_TEST' in env)

const attempts = [
  () => os.kill(0x7ffffff0, 'SIGTERM'),
  () => os.kill(1, 'SIGNOTHING'),
  () => os.chdir('/nope'),
  () => os.getEnv(),
  () => os.setProcessTitle('x'.repeat(300)),
  () => (env.X = {})
]
for (const attempt of attempts) {
  try {
    attempt()
    console.log('no error')
  } catch (err) {
    console.log(err.name, err.code, err.message)
  }
}

const [seconds, nanoseconds] = hrtime()
console.log(Number.isInteger(seconds), nanoseconds < 1e9, hrtime.bigint() <= hrtime.bigint(), hrtime([seconds, 0])[0] < 5)
console.log(isTTY(0), isTTY(99), process.uptime() >= 0)
process.nextTick((word) => console.log(word), 'tick')
process.stdout.write('written\n')
