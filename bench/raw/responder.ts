// The other side of network.ts: a process that sends back what it gets, or as many bytes as it was told to.

import { createServer } from 'node:net'
import { connect } from 'nats'

export type ResponderOrder =
  | { readonly kind: 'tcp' }
  | {
      readonly kind: 'nats'
      readonly natsUrl: string
      readonly subject: string
      readonly replyBytes?: number // absent: the request itself
    }

export interface ResponderReady {
  readonly port: number // 0 for NATS
}

async function serve(order: ResponderOrder): Promise<ResponderReady> {
  return order.kind === 'tcp' ? serveTcp() : serveNats(order)
}

function serveTcp(): Promise<ResponderReady> {
  const server = createServer({ noDelay: true }, (socket) => void socket.pipe(socket))
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      resolve({ port: typeof address === 'object' && address !== null ? address.port : 0 })
    })
  })
}

async function serveNats({
  natsUrl,
  subject,
  replyBytes,
}: Extract<ResponderOrder, { kind: 'nats' }>): Promise<ResponderReady> {
  const connection = await connect({ servers: natsUrl })
  const reply = replyBytes === undefined ? undefined : new Uint8Array(replyBytes).fill(1)
  connection.subscribe(subject, { callback: (_error, message) => void message.respond(reply ?? message.data) })
  await connection.flush()
  return { port: 0 }
}

const [order] = process.argv.slice(2)
if (process.send !== undefined && order !== undefined) {
  process.on('disconnect', () => process.exit()) // never outlive the bench
  process.send(await serve(JSON.parse(order) as ResponderOrder)) // network.ts wrote it
}
