// Absent keys and nulls are read as the reference implementation's configuration classes take them:
// ../../fixtures/config-defaults.json, made by make/config_defaults.py.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ClusterError } from '../../../lib/errors.js'
import { wantedTensors } from '../../../lib/model/checkpoint.js'
import { FAMILIES, specOf } from '../../../lib/model/families/registry.js'
import type { ModelSpec } from '../../../lib/model/spec.js'
import { sizeOf } from '../../../lib/model/stored-tensor.js'
import { storedShape } from '../../../lib/model/tensor-view.js'
import { repositoryRoot } from '../../helpers/paths.js'

type Config = Readonly<Record<string, unknown>>
interface Rope {
  readonly rope_type: string
  readonly rope_theta: number
}
interface Reference {
  readonly defaults: Config
  readonly empty: {
    readonly more: Config
    readonly parameters: number
    readonly rope_parameters: Rope | { readonly full_attention: Rope; readonly sliding_attention: Rope }
  }
  readonly small: Config
  readonly nulls: Config
}
const references = Object.entries(
  JSON.parse(readFileSync(join(repositoryRoot, 'test', 'fixtures', 'config-defaults.json'), 'utf8')) as Record<
    string,
    Reference
  >, // its own form
)

/** Keys whose null the classes of some families refuse; all read it as the others do. */
const ALIKE = new Set(['num_key_value_heads', 'head_dim', 'norm_topk_prob'])

/** Keys that nothing is computed by. */
const IDLE = ['DeepseekV3ForCausalLM num_key_value_heads']

const read = (architecture: string, config: Config): ModelSpec =>
  specOf({ architectures: [architecture], ...config }, 'config.json')

const numParameters = (spec: ModelSpec): number =>
  [...wantedTensors(spec).values()].reduce((sum, ref) => sum + sizeOf(storedShape(ref)), 0)

/** Everything of a model but in which order rows lie. */
const shown = (spec: ModelSpec): string => JSON.stringify(spec)

describe('absent keys of a configuration', () => {
  it('all families that are served are judged', () => {
    const named = FAMILIES.map(({ architecture }) => architecture)
    assert.deepEqual(
      named.filter((name) => name !== 'Gemma3ForConditionalGeneration').sort(),
      references.map(([name]) => name).sort(),
    )
  })

  const known = new Set(FAMILIES.flatMap(({ defaults }) => Object.keys(defaults)))
  for (const [architecture, { defaults, empty, small, nulls }] of references) {
    const own = FAMILIES.find((family) => family.architecture === architecture)?.defaults ?? {}

    it(`${architecture}: every default is the reference's, none is missing`, () => {
      for (const key of known) {
        const isOptional = defaults[key] === undefined || defaults[key] === null
        const isLeftOut = own[key] === undefined && (isOptional || IDLE.includes(`${architecture} ${key}`))
        if (key in defaults && !isLeftOut) assert.equal(own[key], defaults[key], `${key} of ${architecture}`)
      }
    })

    it(`${architecture}: nothing but its name is a model as large as the reference's, with its rotation`, () => {
      const spec = read(architecture, empty.more)
      assert.equal(numParameters(spec), empty.parameters)
      assert.equal(spec.maxPositions, defaults.max_position_embeddings)
      assert.deepEqual(spec.eosTokenIds, [defaults.eos_token_id ?? []].flat())
      const { rope_parameters: rope } = empty
      const [first, last] = [spec.layers[0]?.attention.rope, spec.layers[5]?.attention.rope]
      const wanted = 'full_attention' in rope ? [rope.sliding_attention, rope.full_attention] : [rope, rope]
      assert.deepEqual(
        [first, last].map((found) => [found?.scaling.type, found?.theta]),
        wanted.map(({ rope_type: type, rope_theta: theta }) => [type, theta]),
      )
    })

    it(`${architecture}: a null is refused by its key, or what the reference takes it for`, () => {
      const plain = read(architecture, small)
      for (const [key, taken] of Object.entries(nulls)) {
        const message = `${key} of ${architecture}`
        if (taken === 'refused') {
          let spec: ModelSpec
          try {
            spec = read(architecture, { ...small, [key]: null })
          } catch (error) {
            assert.ok(error instanceof ClusterError && error.message.includes(`${key}: want`), String(error))
            continue
          }
          assert.ok(ALIKE.has(key) || shown(spec) === shown(plain), message) // nothing reads it
        } else {
          const spec = read(architecture, { ...small, [key]: null })
          if (taken !== null) assert.ok(shown(spec) === shown(read(architecture, { ...small, [key]: taken })), message)
        }
      }
    })
  }
})
