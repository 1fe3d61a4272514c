// A process that starts before its NATS server: it waits as long as it is told to, and no longer.

import assert from 'node:assert/strict'
import { ClusterError } from '../../lib/errors.js'
import { connectNats } from '../../lib/transport/nats.js'
import { eventually } from '../helpers/eventually.js'
import { freePorts } from '../helpers/free-ports.js'
import { startNatsForTest, type TestNats } from '../helpers/nats.js'

describe('the first connection to NATS', function () {
  this.timeout(20_000)
  let port: number
  let nats: TestNats | undefined
  beforeEach(async () => {
    const [free = 0] = await freePorts(1)
    port = free
  })
  afterEach(async () => {
    await nats?.stop()
    nats = undefined
  })
  const reasons: string[] = []
  const open = (waitMs?: number) =>
    connectNats({ url: `nats://127.0.0.1:${port}`, name: 'test', waitMs, onWait: (why) => reasons.push(why) })
  const isUnavailable = (error: unknown): boolean => error instanceof ClusterError && error.code === 'unavailable'

  it('waits for a server that starts later, and says once why', async () => {
    const opening = open(15_000)
    opening.catch(() => undefined) // looked at below
    await eventually(() => reasons.length > 0, 'it has tried')
    nats = await startNatsForTest({ port })
    const transport = await opening
    await transport.flush()
    assert.equal(reasons.length, 1)
    assert.match(reasons[0] ?? '', new RegExp(`127.0.0.1:${port}`))
    await transport.close()
  })

  it('is given up when that time is over, at once where there is none', async () => {
    reasons.length = 0
    await assert.rejects(open(700), isUnavailable)
    assert.equal(reasons.length, 1)
    await assert.rejects(open(), isUnavailable)
    assert.equal(reasons.length, 1)
  })
})
