import assert from 'node:assert/strict'
import { createLogger } from '../../../lib/tracing/logger.js'

const linesOf = (options: {
  level: string
  isPretty: boolean
}): { logger: ReturnType<typeof createLogger>; lines: string[] } => {
  const lines: string[] = []
  return { lines, logger: createLogger({ ...options, id: 'router-0', write: (line) => lines.push(line) }) }
}

describe('createLogger', () => {
  it('writes one JSON object a line with the process in it', () => {
    const { logger, lines } = linesOf({ level: 'info', isPretty: false })
    logger.warn({ epoch: 3 }, 'routing table')
    const record = JSON.parse(lines.join('')) as Record<string, unknown>
    assert.deepEqual([record.id, record.epoch, record.msg], ['router-0', 3, 'routing table'])
  })

  it('keeps quiet below its level', () => {
    const { logger, lines } = linesOf({ level: 'error', isPretty: false })
    logger.info({}, 'nothing')
    assert.deepEqual(lines, [])
  })

  it('writes a plain line for a person', () => {
    const { logger, lines } = linesOf({ level: 'info', isPretty: true })
    logger.error({ worker: 'expert-worker-1', code: 7 }, 'lost')
    assert.match(lines.join(''), /^\d\d:\d\d:\d\d\.\d{3} error router-0: lost worker=expert-worker-1 code=7\n$/)
  })
})
