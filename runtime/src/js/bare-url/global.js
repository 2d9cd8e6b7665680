// bare-url 2.5, `/global`.

const { URL, URLSearchParams } = require('bare-url')

globalThis.URL = URL
globalThis.URLSearchParams = URLSearchParams
