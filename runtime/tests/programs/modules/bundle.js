console.log(require('./app.bundle'))
