// bare-console 6.2, `/global`.

const Console = require('bare-console')

module.exports = globalThis.console = new Console()
