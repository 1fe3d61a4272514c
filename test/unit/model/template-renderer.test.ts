// The process that renders templates, as it really is: killed, missing, without memory, noisy, and left alone.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { once } from 'node:events'
import { createManualClock, systemClock } from '../../../lib/actor/clock.js'
import { ClusterError } from '../../../lib/errors.js'
import { createTemplateRenderer, type TemplateRenderer } from '../../../lib/model/template-renderer.js'
import { hasProcessTable, readStat } from '../../chaos/process-table.js'
import { eventually } from '../../helpers/eventually.js'

/** Loops where it is told to. */
const SOURCE =
  "{% if text == 'loop' %}{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}{% endif %}" +
  '{{ text }}'

/** Pids of the processes that this one, or that one, renders with. */
const renderersOf = (parent = process.pid): readonly number[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => readStat(pid)?.parent === parent && argumentsOf(pid).includes('template-process'))

function argumentsOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8')
  } catch {
    return '' // ended while we looked
  }
}

describe('a process that renders', function () {
  this.timeout(30_000)
  const open: TemplateRenderer[] = []
  const start = (): TemplateRenderer => {
    const renderer = createTemplateRenderer(SOURCE, 'm')
    open.push(renderer)
    return renderer
  }
  afterEach(() => {
    for (const renderer of open.splice(0)) renderer.close()
  })
  const killIt = (): void => {
    for (const pid of renderersOf()) process.kill(pid, 'SIGKILL')
  }
  const isUnavailable = (message: RegExp) => (error: unknown) =>
    error instanceof ClusterError &&
    error.code === 'unavailable' &&
    error.details.reason === 'TEMPLATE_PROCESS' &&
    message.test(error.message)

  it('and is killed is replaced; what it was doing is done again, once (TR3)', async function () {
    if (!hasProcessTable()) this.skip()
    const renderer = start()
    assert.equal(await renderer.render({ text: 'a' }, systemClock), 'a')
    killIt()
    assert.equal(await renderer.render({ text: 'b' }, systemClock), 'b') // known to be dead or not
    const looping = renderer.render({ text: 'loop' }, systemClock)
    const waiting = renderer.render({ text: 'c' }, systemClock)
    killIt()
    await assert.rejects(looping, /did not end within 1000 ms/) // in the second one
    assert.equal(await waiting, 'c')
    const killed = assert.rejects(
      renderer.render({ text: 'loop' }, systemClock),
      isUnavailable(/it was killed|it ended as/),
    )
    const [first] = renderersOf()
    killIt()
    await eventually(() => renderersOf().some((pid) => pid !== first), 'the next one')
    killIt()
    await killed
    assert.equal(await renderer.render({ text: 'd' }, systemClock), 'd')
  })

  it('is not waited for by whoever leaves, and serves the next one', async () => {
    const renderer = start()
    await renderer.render({ text: 'a' }, systemClock)
    const controller = new AbortController()
    const left = assert.rejects(renderer.render({ text: 'loop' }, systemClock, controller.signal), /gone/)
    let isNextDone = false
    const next = renderer.render({ text: 'b' }, systemClock).finally(() => (isNextDone = true))
    await systemClock.turn() // it loops
    controller.abort(new ClusterError('cancelled', 'gone'))
    await left
    assert.ok(!isNextDone, 'the loop was not waited for')
    assert.equal(await next, 'b')
  })

  it('is asked by a bounded number of chats, which wait for a bounded time', async () => {
    const renderer = start()
    await renderer.render({ text: 'a' }, systemClock)
    const waiting = Array.from({ length: 257 }, (_, i) => renderer.render({ text: `${i}` }, systemClock))
    await assert.rejects(
      renderer.render({ text: 'too many' }, systemClock),
      (error: unknown) =>
        error instanceof ClusterError &&
        error.code === 'resource_exhausted' &&
        error.details.reason === 'TEMPLATES_BUSY' &&
        Number(error.details.retryAfterMs) >= 250,
    )
    assert.deepEqual(
      await Promise.all(waiting),
      waiting.map((_, i) => `${i}`),
    )
  })

  it('ends with whoever started it, also when that one is killed while it renders (TR2)', async function () {
    if (!hasProcessTable()) this.skip()
    const script = `
      import { systemClock } from '${new URL('../../../lib/actor/clock.js', import.meta.url).href}'
      import { createTemplateRenderer } from '${new URL('../../../lib/model/template-renderer.js', import.meta.url).href}'
      const renderer = createTemplateRenderer(${JSON.stringify(SOURCE)}, 'm')
      await renderer.render({ text: 'a' }, systemClock)
      console.log('rendered')
      setInterval(() => undefined, 1000)
      await renderer.render({ text: 'loop' }, systemClock)`
    const parent = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await once(parent.stdout, 'data')
    const [renderer = assert.fail('no process')] = renderersOf(parent.pid)
    parent.kill('SIGKILL')
    await once(parent, 'exit')
    await eventually(() => readStat(renderer) === undefined, 'it ends', 5000)
  })

  describe('that does not start', () => {
    const { execPath } = process
    let folder = ''
    before(() => {
      folder = mkdtempSync(join(tmpdir(), 'banyan-renderer-'))
    })
    afterEach(() => {
      process.execPath = execPath
    })
    after(() => rmSync(folder, { recursive: true, force: true }))

    /** A shell script in the place of Node. */
    const insteadOfNode = (script: string): string => {
      const path = join(folder, 'node')
      writeFileSync(path, `#!/bin/sh\n${script}\n`)
      chmodSync(path, 0o755)
      return path
    }

    const cases: readonly [title: string, path: () => string, wanted: RegExp][] = [
      ['because its program is not there', () => join(folder, 'none'), /no process for it: spawn .*ENOENT/],
      ['because it may not', () => folder, /no process for it: spawn .*EACCES/],
      ['because the system says so at once', () => '/dev/null/node', /no process for it: spawn .*ENOTDIR/],
      ['because it has no memory', () => insteadOfNode(`ulimit -v 200000; exec ${execPath} "$@"`), /as it started \(/],
      ['because it ends', () => insteadOfNode('exit 3'), /no process for it: it ended as it started \(code 3\)/],
    ]
    for (const [title, path, wanted] of cases) {
      it(`${title} is one error that may be retried, and is started when it can be`, async () => {
        const renderer = start()
        process.execPath = path()
        renderer.warm()
        await assert.rejects(renderer.render({ text: 'a' }, systemClock), isUnavailable(wanted))
        process.execPath = execPath
        assert.equal(await renderer.render({ text: 'b' }, systemClock), 'b')
      })
    }

    it('in time is one error, too', async () => {
      const clock = { ...createManualClock(), turn: systemClock.turn }
      const renderer = start()
      process.execPath = insteadOfNode('exec sleep 60')
      const late = assert.rejects(renderer.render({ text: 'a' }, clock), isUnavailable(/did not start within 10 s/))
      await clock.turn()
      clock.advance(12_000)
      await late
    })

    it('in silence is heard all the same', async () => {
      process.execPath = insteadOfNode(`echo '{"text":"x"}'; echo oops >&2; exec ${execPath} "$@"`)
      assert.equal(await start().render({ text: 'a' }, systemClock), 'a')
    })
  })
})
