Promise.reject(new Error('early')).catch(() => console.log('caught'))
const late = Promise.reject(new Error('late'))
queueMicrotask(() => late.catch(() => console.log('caught later')))
setTimeout(() => Promise.reject(new Error('nobody')), 1)
