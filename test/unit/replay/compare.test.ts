// Two reports compared: what is called a regression, what is not, and what cannot be told.

import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { compareRuns, openReportFolder } from '../../../replay/src/index.js'
import { createRandom } from '../../helpers/random.js'

describe('two replays compared', () => {
  const root = mkdtempSync(join(tmpdir(), 'banyan-compare-'))
  after(() => rmSync(root, { recursive: true, force: true }))

  /** A report's lines with latencies around a mean. */
  function reportWith(name: string, meanMs: number, { numFailed = 0, seed = 1 } = {}): string {
    const random = createRandom(seed)
    const folder = join(root, name)
    const lines = Array.from({ length: 200 }, (_, i) => {
      const value = meanMs * (0.8 + 0.4 * random())
      return JSON.stringify({
        metadata: {},
        metrics: i < numFailed ? {} : { request_latency: { value, unit: 'ms' } },
        error: i < numFailed ? { code: 503, type: 'http_503', message: 'busy' } : null,
      })
    })
    mkdirSync(folder)
    writeFileSync(join(folder, 'profile_export.jsonl'), `${lines.join('\n')}\n`)
    return folder
  }

  it('calls a regression only where the whole interval is beyond the bound', async () => {
    const base = reportWith('base', 100)
    const again = reportWith('again', 101, { seed: 2 })
    const slower = reportWith('slower', 120, { seed: 3 })
    const failing = reportWith('failing', 100, { numFailed: 40, seed: 4 })
    assert.equal((await compareRuns(base, again, { bound: 0.05 })).hasRegression, false)
    const worse = await compareRuns(base, slower, { bound: 0.05 })
    assert.equal(worse.hasRegression, true)
    assert.deepEqual(worse, await compareRuns(base, slower, { bound: 0.05 }))
    const figure = worse.figures.find(({ metric, statistic }) => metric === 'request_latency' && statistic === 'mean')
    assert.ok(
      figure && figure.low < 1.2 && figure.high > 1.2 && figure.high - figure.low < 0.08,
      JSON.stringify(figure),
    )
    assert.equal((await compareRuns(base, slower, { bound: 0.3 })).hasRegression, false)
    assert.equal((await compareRuns(slower, base, { bound: 0.05 })).hasRegression, false)
    const failed = (await compareRuns(base, failing, { bound: 0.05 })).figures.at(-1)
    assert.deepEqual([failed?.metric, failed?.change, failed?.verdict], ['failed_requests', 0.2, 'regression'])
  })

  /** A report with these latencies, written in another order than that of sending. */
  function reportOf(name: string, values: readonly number[]): string {
    const folder = join(root, name)
    const lines = values.map((value, i) =>
      JSON.stringify({
        metadata: { request_start_ns: i },
        metrics: { request_latency: { value, unit: 'ms' } },
        error: null,
      }),
    )
    mkdirSync(folder)
    writeFileSync(join(folder, 'profile_export.jsonl'), `${[...lines.slice(50), ...lines.slice(0, 50)].join('\n')}\n`)
    return folder
  }

  const meanOf = async (a: string, b: string) =>
    (await compareRuns(a, b, { bound: 0.05 })).figures.find(({ statistic }) => statistic === 'mean')

  it('knows that requests which queue are not independent: the interval is wider', async () => {
    const flat = reportOf('flat', new Array<number>(400).fill(100))
    const waves = Array.from({ length: 400 }, (_, i) => (Math.floor(i / 40) % 2 === 0 ? 80 : 120))
    const mixed = Array.from({ length: 400 }, (_, i) => waves[(i * 171) % 400] ?? 0)
    const wide = await meanOf(flat, reportOf('waves', waves))
    const narrow = await meanOf(flat, reportOf('mixed', mixed))
    assert.ok(wide && narrow && wide.high - wide.low > 2 * (narrow.high - narrow.low), JSON.stringify([wide, narrow]))
  })

  it('nothing against nothing is the same; where A alone has a 0 nothing is decided', async () => {
    const none = reportOf('none', new Array<number>(100).fill(0))
    const same = await meanOf(none, reportOf('none-too', new Array<number>(100).fill(0)))
    assert.deepEqual([same?.change, same?.low, same?.high, same?.verdict], [1, 1, 1, 'same'])
    const some = await compareRuns(none, reportOf('some', new Array<number>(100).fill(5)), { bound: 0.05 })
    assert.deepEqual(
      some.figures.map(({ verdict }) => verdict),
      ['undecided', 'undecided', 'undecided', 'same'],
    )
    assert.equal(some.hasRegression, false)
  })

  it('reads what AIPerf itself wrote, which has no error where there was none', async () => {
    const theirs = join(root, 'theirs')
    const line = (value: number): string =>
      JSON.stringify({
        metadata: { session_num: 0, was_cancelled: false },
        metrics: { request_latency: { value, unit: 'ms' }, http_req_chunks: { value: { sent: 1 }, unit: 'count' } },
      })
    mkdirSync(theirs)
    writeFileSync(join(theirs, 'profile_export.jsonl'), `${[90, 100, 110].map(line).join('\n')}\n`)
    const { figures, hasRegression } = await compareRuns(theirs, reportWith('ours', 50), { bound: 0.05 })
    assert.equal(hasRegression, false)
    assert.deepEqual([figures[0]?.metric, figures[0]?.a, figures[0]?.verdict], ['request_latency', 100, 'better'])
  })

  it('refuses folders that are no reports, and names the line', async () => {
    const base = reportWith('base-2', 100)
    await assert.rejects(compareRuns(base, join(root, 'nothing'), { bound: 0.05 }), /want the folder of a report/)
    const broken = join(root, 'broken')
    mkdirSync(broken)
    writeFileSync(join(broken, 'profile_export.jsonl'), '{"metadata": {}, "metrics": {}, "error": null}\n{"metri')
    await assert.rejects(compareRuns(base, broken, { bound: 0.05 }), /profile_export\.jsonl:2: want a request/)
    await assert.rejects(openReportFolder(root.replace(/$/, '/broken/profile_export.jsonl')), /want a folder/)
  })
})
