console.log('file', Bare.Thread.self.data, require.main === module, Bare.Thread.isMainThread)
