import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { requirePorts } from '../../../cli/cluster/require-ports.js'

describe('requirePorts', () => {
  const host = '127.0.0.1'

  it('names the flag, the port and the host of a port that is taken; takes any for 0', async () => {
    const other = createServer().listen(0, host)
    await once(other, 'listening')
    const { port } = other.address() as AddressInfo // a TCP server has a port
    await assert.rejects(requirePorts({ host, http: 0, grpc: port, routers: 2 }), {
      code: 'failed_precondition',
      message: `--grpc ${port} on ${host}: want a port of its own, but another process listens there`,
    })
    await new Promise((resolve) => other.close(resolve))
    await requirePorts({ host, http: port, grpc: 0, routers: 1 }) // free again, and left free
    await requirePorts({ host, http: port, grpc: 0, routers: 1 })
  })

  it('says of a host that is not of this machine why it cannot be had', async () => {
    await assert.rejects(requirePorts({ host: '192.0.2.1', http: 1, grpc: 0, routers: 1 }), {
      code: 'failed_precondition',
      message: /^--http 1 on 192\.0\.2\.1: want a port of its own, but .*EADDRNOTAVAIL/,
    })
  })
})
