// An endpoint that answers at once, in a process of its own: what is late then is the generator. Tells its port to its
// parent and ends with it.

import { createServer } from 'node:http'

const ANSWER = [
  { choices: [{ index: 0, text: 'a', finish_reason: null }] },
  { choices: [{ index: 0, text: 'b', finish_reason: 'length' }] },
  { choices: [], usage: { prompt_tokens: 1, completion_tokens: 2 } },
]
  .map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`)
  .join('')
  .concat('data: [DONE]\n\n')

const server = createServer((request, response) => {
  request.resume().on('end', () => {
    if (request.method === 'POST') response.writeHead(200, { 'content-type': 'text/event-stream' }).end(ANSWER)
    else response.writeHead(404).end()
  })
})
server.listen(0, '127.0.0.1', () => process.send?.(server.address()))
process.on('disconnect', () => process.exit(0))
