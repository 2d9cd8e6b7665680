console.log('hello', typeof require, __filename.endsWith('hello.js'), require.main === module, this === globalThis)
