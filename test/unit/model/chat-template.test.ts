// Chat templates against the reference (test/fixtures/tokenizers/README.md), and against templates that mean harm.

import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { systemClock } from '../../../lib/actor/clock.js'
import { ClusterError } from '../../../lib/errors.js'
import { chatTemplateSource, createChatTemplate } from '../../../lib/model/chat-template.js'
import { repositoryRoot } from '../../helpers/paths.js'
import { isPublished, publishedConfig, publishedFolder } from '../../helpers/published.js'

const fixtures = join(repositoryRoot, 'test/fixtures')
const chats = JSON.parse(readFileSync(join(fixtures, 'tokenizers/chats.json'), 'utf8')) as {
  readonly now: number
  readonly conversations: readonly (readonly (readonly [role: string, content: string])[])[]
  readonly prompts: Readonly<Record<string, readonly (string | null)[]>>
} // as the script wrote it

function templateOf(name: string): ReturnType<typeof createChatTemplate> {
  const published = isPublished(name) ? name : 'llama2'
  const own = join(fixtures, `templates/${name}.jinja`)
  const source = existsSync(own) ? readFileSync(own, 'utf8') : chatTemplateSource(publishedFolder(published))
  return createChatTemplate(source ?? assert.fail(name), publishedConfig(published), name)
}

describe('chat templates', function () {
  this.timeout(30_000)
  for (const [name, prompts] of Object.entries(chats.prompts)) {
    it(`of ${name} render as the reference does`, async () => {
      const template = templateOf(name)
      const clock = { ...systemClock, now: () => chats.now }
      for (const [i, conversation] of chats.conversations.entries()) {
        const messages = conversation.map(([role, content]) => ({ role, content }))
        const wanted = prompts[i]
        if (typeof wanted === 'string') assert.equal(await template.render(messages, clock), wanted)
        else await assert.rejects(template.render(messages, clock), /the chat template refuses them: \w/)
      }
      template.close()
    })
  }
})

describe('a template that means harm', function () {
  this.timeout(30_000)
  const message = [{ role: 'user', content: 'x' }]
  const endless = '{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}'
  const doubled = (value: string, times: number): string =>
    `{% set ns = namespace(v=${value}) %}{% for i in range(${times}) %}{% set ns.v = ns.v + ns.v %}{% endfor %}`

  const cases: readonly [string, string, string, RegExp][] = [
    ['never ends', endless, 'internal', /m: chat template: it did not end within 1000 ms/],
    ['fills the memory', doubled("['xxxx']", 60), 'internal', /64 MB of memory|1000 ms/],
    ['builds a string', `${doubled("'xxxx'", 26)}{{ ns.v | upper }}`, 'internal', /64 MB of memory|1000 ms/],
    ['builds a prompt', `${doubled("'xxxx'", 21)}{{ ns.v }}`, 'invalid_argument', /has 8388608 characters, at most/],
    ['counts too far', '{{ range(1000000000) }}', 'invalid_argument', /range of 1000000000 items/],
    [
      'reaches for the host',
      "{{ ''.constructor.constructor('return process')() }}",
      'invalid_argument',
      /refuses them/,
    ],
    ['calls its functions’ maker', "{{ strftime_now.constructor('return 1')() }}", 'invalid_argument', /refuses them/],
  ]
  for (const [title, source, code, wanted] of cases) {
    it(`and ${title} ends in one error, in time`, async () => {
      const template = createChatTemplate(source, {}, 'm')
      const start = performance.now()
      const error = await template.render(message, systemClock).catch((caught: unknown) => caught)
      assert.ok(error instanceof ClusterError, JSON.stringify(error))
      assert.equal(error.code, code)
      assert.match(error.message, wanted)
      assert.ok(performance.now() - start < 12_000)
      template.close()
    })
  }

  it('sees no prototypes', async () => {
    const keys = ['constructor', '__proto__', 'prototype', 'toString', '__class__']
    const source = keys.map((key) => `{{ messages[0]['${key}'] }}{{ ''.${key} }}{{ range['${key}'] }}`).join('')
    const template = createChatTemplate(source, {}, 'm')
    assert.equal(await template.render(message, systemClock), '')
    template.close()
  })

  it('leaves the event loop free, and the next message its turn', async () => {
    const source = `{% if messages[0].content == 'loop' %}${endless}{% endif %}{{ messages[0].content }}`
    const template = createChatTemplate(source, {}, 'm')
    const busy = template.render([{ role: 'user', content: 'loop' }], systemClock).catch(() => 'refused')
    const next = template.render(message, systemClock)
    let turns = 0
    const timer = setInterval(() => (turns += 1), 10)
    assert.deepEqual(await Promise.all([busy, next]), ['refused', 'x'])
    clearInterval(timer)
    assert.ok(turns > 10, `${turns} turns of the event loop`)
    template.close()
  })

  it('is refused at opening where it cannot be read', () => {
    const refused: readonly [string, RegExp][] = [
      ["{% include '/etc/passwd' %}", /m: chat template: .*include/],
      ['{% for %}', /m: chat template/],
      [`{{ ${'('.repeat(100_000)} }}`, /m: chat template/],
      [' '.repeat(300_000), /m: chat template: 300000 characters, at most/],
    ]
    for (const [source, wanted] of refused) assert.throws(() => createChatTemplate(source, {}, 'm'), wanted)
  })
})
