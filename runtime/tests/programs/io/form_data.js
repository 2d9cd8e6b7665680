// not in bare: its packages are not where it looks for them
const { FormData, Blob, File, toBlob, isFormData } = require('bare-form-data')
const fetch = require('bare-fetch')
const http = require('bare-http1')

async function main () {
  const form = new FormData()
  form.append('title', 'a\nb')
  form.append('title', 'again')
  form.set('only', 'x')
  form.set('only', 'y')
  form.append('file', new File(['con', Buffer.from('tent')], 'a "b".txt', { type: 'text/plain', lastModified: 5 }))
  form.append('blob', new Blob([new Uint8Array([65, 66])]))
  console.log(form.get('title'), form.getAll('title').length, form.get('only'), form.has('none'), form.get('none'))
  const file = form.get('file')
  console.log(file.name, file.type, file.size, file.lastModified, await file.text(), File.isFile(file), Blob.isBlob(file))
  console.log(form.get('blob').name, isFormData(form), (await form.get('blob').bytes()).length)
  form.delete('only')
  console.log([...form].map(([name]) => name))
  let streamed = ''
  for await (const piece of file.stream()) streamed += piece.toString()
  console.log(streamed, (await file.arrayBuffer()).byteLength)

  const blob = toBlob(form)
  const boundary = blob.type.split('boundary=')[1]
  console.log((await blob.text()).replaceAll(boundary, 'BOUNDARY').replaceAll('\r', '\\r'))
  try {
    toBlob(form, 'text/plain')
  } catch (err) {
    console.log(err.code)
  }

  const server = http.createServer(async (req, res) => {
    const chunks = []
    for await (const chunk of req) chunks.push(chunk)
    const type = req.headers['content-type']
    const body = Buffer.concat(chunks).toString()
    res.end(JSON.stringify({ type: type.split('=')[0], parts: body.split('--' + type.split('=')[1]).length }))
  })
  server.listen(0, '127.0.0.1', async () => {
    const response = await fetch(`http://127.0.0.1:${server.address().port}/`, { method: 'POST', body: form })
    console.log(await response.json())
    http.globalAgent.destroy()
    server.close()
  })
}

main()
