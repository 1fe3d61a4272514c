import assert from 'node:assert/strict'
import { startFleet, type Member } from '../../../cli/cluster/fleet.js'
import { resolveConfig } from '../../../lib/config/resolve.js'
import { createLogger } from '../../../lib/tracing/logger.js'
import type { Role } from '../../../lib/wire/messages.js'
import { eventually } from '../../helpers/eventually.js'

describe('startFleet', () => {
  const { config } = resolveConfig({ flags: {}, env: {}, machine: { model: 'm', cores: 1 } })
  const logger = createLogger({ level: 'silent', id: 'test', isPretty: false, write: () => undefined })

  /** A fleet whose services start as `outcome` says of their n-th start. */
  async function fleetOf(outcome: (role: Role, index: number, count: number) => 'starts' | 'fails') {
    const launched = new Map<string, number>()
    const running = new Set<string>()
    const launch = (role: Role, index: number): Member => {
      const name = `${role}-${index}`
      const count = (launched.get(name) ?? 0) + 1
      launched.set(name, count)
      const isGood = outcome(role, index, count) === 'starts'
      if (isGood) running.add(name)
      return {
        started: isGood ? Promise.resolve(undefined) : Promise.reject(new Error('no room')),
        leave: async () => void running.delete(name),
      }
    }
    const signal = new AbortController().signal
    const fleet = await startFleet({ config, logger, launch, onStarted: () => undefined, signal })
    return { fleet, launched, running }
  }

  it('tries a service that was asked for later again until it starts (F4)', async () => {
    const { fleet, launched, running } = await fleetOf((_, index, count) =>
      index < 2 || count === 3 ? 'starts' : 'fails',
    )
    fleet.scale({ experts: 3 })
    await eventually(() => running.has('expert-worker-2'), 'the third expert worker runs')
    assert.equal(launched.get('expert-worker-2'), 3)
    await fleet.leave('stop')
    assert.deepEqual([...running], [])
  })

  it('goes on where a service does not leave, says so, and does not give its index to another (F2)', async () => {
    const lines: string[] = []
    const logger = createLogger({ level: 'error', id: 'test', isPretty: false, write: (line) => void lines.push(line) })
    const launched: string[] = []
    let isStuck = true
    const launch = (role: Role, index: number): Member => {
      launched.push(`${role}-${index}`)
      const isBad = role === 'expert-worker' && index === 2
      return {
        started: isBad ? Promise.reject(new Error('no room')) : Promise.resolve(undefined),
        leave: () => (isBad && isStuck ? Promise.reject(new Error('stuck')) : Promise.resolve()),
      }
    }
    const { signal } = new AbortController()
    const fleet = await startFleet({ config, logger, launch, onStarted: () => undefined, signal })
    fleet.scale({ experts: 3 })
    await eventually(() => lines.some((line) => line.includes('did not leave') && line.includes('stuck')), 'it is said')
    fleet.scale({ attention: 3 })
    await eventually(() => launched.includes('attention-2'), 'the fleet goes on')
    assert.equal(launched.filter((name) => name === 'expert-worker-2').length, 1)
    isStuck = false
    await fleet.leave('stop')
  })

  it('does not try what is no longer asked for, nor anything after it was told to leave', async () => {
    const { fleet, launched } = await fleetOf((_, index) => (index < 2 ? 'starts' : 'fails'))
    fleet.scale({ experts: 3 })
    await eventually(() => launched.get('expert-worker-2') === 1, 'it was tried once')
    fleet.scale({ experts: 2 })
    fleet.scale({ attention: 3 })
    await eventually(() => launched.get('attention-2') === 2, 'the other is tried again')
    assert.equal(launched.get('expert-worker-2'), 1)
    await fleet.leave('stop')
    const counts = [...launched.values()]
    await new Promise((resolve) => setImmediate(resolve))
    assert.deepEqual([...launched.values()], counts)
  })
})
